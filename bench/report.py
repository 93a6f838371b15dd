"""Figures of interleaved rounds as ratios with their spread, in Markdown and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "bench" / "results"
_BUILD = _ROOT / "build" / "bench"
PACKAGES = (
    "asyncpg", "fastapi", "granian", "httptools", "orjson", "pydantic", "pyjwt", "sqlalchemy",
    "starlette", "uvicorn", "uvloop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Round:
    """One window on one server. CPU times per request in microseconds, shares of one core 0..1.

    `keys`: the population of its keys, where there are several.
    """

    scenario: str
    server: str
    number: int
    requests: int
    requests_per_s: float
    server_cpu_us: float
    postgres_cpu_us: float
    p50_ms: float
    p99_ms: float
    server_busy: float
    load_busy: float
    others_on_server_core: float
    keys: str = ""

    @property
    def label(self) -> str:
        """The name of scenario and keys together."""
        return f"{self.scenario}, {self.keys} keys" if self.keys else self.scenario


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the range that it comes from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """A spread of one value or more."""
        found = sorted(values)
        return cls(median(found), found[0], found[-1])

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f})"


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """What the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()}-core {platform.machine()} virtual machine, {model}"
        if _virtual()
        else f"{os.cpu_count()}-core {platform.machine()}, {model}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def _virtual() -> bool:
    return " hypervisor" in Path("/proc/cpuinfo").read_text()


async def database_facts(url: str) -> dict[str, str]:
    """The database's version and size."""
    connection = await asyncpg.connect(url)
    try:
        users = await connection.fetchval('SELECT count(*) FROM "user"')
        version = await connection.fetchval("SHOW server_version")
        return {"PostgreSQL": version, "users": f"{users:,}"}
    finally:
        await connection.close()


def heading(facts: dict[str, str]) -> list[str]:
    """Machine and versions in two lines."""
    facts = dict(facts)
    first = [facts.pop(name) for name in ("date", "machine", "kernel")]
    versions = [f"{name} {version}" for name, version in facts.items()]
    return ["; ".join(first) + ".  ", ", ".join(versions) + "."]


def neighbours(
    rounds: Sequence[Round], ours: str, peer: str, label: str
) -> list[tuple[Round, Round]]:
    """Our rounds, each with the peer's beside it."""
    mine, theirs = (
        [one for one in rounds if (one.label, one.server) == (label, server)]
        for server in (ours, peer)
    )
    return list(zip(mine, theirs, strict=False))


def ratios(rounds: Sequence[Round], ours: str, peer: str, label: str) -> dict[str, Spread]:
    """Ours divided by the peer's, round by round."""
    pairs = neighbours(rounds, ours, peer, label)
    return {
        name: Spread.of(getattr(mine, name) / getattr(theirs, name) for mine, theirs in pairs)
        for name in ("requests_per_s", "server_cpu_us", "postgres_cpu_us")
        if pairs and all(getattr(theirs, name) for _, theirs in pairs)
    }


def table(rounds: Sequence[Round], ours: str) -> list[str]:
    """Ratios to each other server, then what they come from (medians of the rounds)."""
    labels = list(dict.fromkeys(one.label for one in rounds))
    lines: list[str] = []
    for peer in dict.fromkeys(one.server for one in rounds if one.server != ours):
        lines += [
            f"| {ours} / {peer} | requests per second | server CPU per request | database CPU |",
            "| --- | --- | --- | --- |",
        ]
        for label in labels:
            found = ratios(rounds, ours, peer, label)
            cells = [
                str(found.get(name, ""))
                for name in ("requests_per_s", "server_cpu_us", "postgres_cpu_us")
            ]
            lines.append(f"| {label} | {' | '.join(cells)} |")
        lines.append("")
    return [*lines, *_medians(rounds, labels)]


def _medians(rounds: Sequence[Round], labels: Sequence[str]) -> list[str]:
    lines = [
        "| | requests/s | server CPU, µs | database CPU, µs | p50, ms | p99, ms "
        "| server busy | load busy | others on the server's core |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label in labels:
        for server in dict.fromkeys(one.server for one in rounds):
            found = [one for one in rounds if (one.label, one.server) == (label, server)]
            if not found:
                continue

            def middle(name: str, found: Sequence[Round] = found) -> float:
                return median(getattr(one, name) for one in found)

            lines.append(
                f"| {label}, {server} | {middle('requests_per_s'):,.0f} "
                f"| {middle('server_cpu_us'):.0f} | {middle('postgres_cpu_us'):.0f} "
                f"| {middle('p50_ms'):.2f} | {middle('p99_ms'):.2f} "
                f"| {middle('server_busy'):.0%} | {middle('load_busy'):.0%} "
                f"| {middle('others_on_server_core'):.0%} |"
            )
    return lines


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """`options.out`: where results of this name go, a path without suffix.

    Below build/, so that a short run overwrites no published figures, unless they are asked for.
    """
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        default=_BUILD / name,
        help=f"of the results, without suffix; build/bench/{name} by default",
    )
    where.add_argument(
        "--publish",
        dest="out",
        action="store_const",
        const=_RESULTS / name,
        help=f"the results, as bench/results/{name}",
    )


def journal(out: Path) -> Path:
    """The directory of a run's windows, stored as they come, to go on from: never published.

    That of the results themselves, unless it is among the published ones.
    """
    return _BUILD / out.relative_to(_RESULTS) if out.is_relative_to(_RESULTS) else out


def results() -> Path:
    """Where published figures are."""
    return _RESULTS


def write_markdown(out: Path, lines: Sequence[str]) -> None:
    """Write the lines of a report to `out`.md, and make its directory."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def write(
    out: Path,
    facts: dict[str, str],
    method: str,
    lines: Sequence[str],
    figures: Sequence[dict[str, Any]],
    more: Mapping[str, Any] | None = None,
) -> None:
    """`out`.md and `out`.json, in which `more` stands beside them."""
    write_markdown(out, [*heading(facts), "", method, "", *lines])
    document = {"facts": facts, "method": method, **(more or {}), "figures": figures}
    out.with_suffix(".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
