"""How late answers are at each offered rate, beside Go and Fastify: an open loop.

    bash build.sh lab curves [--names hlfast Go Fastify] [--workload user]

Requests leave when they are due, whatever comes back, and each is timed from when it was due. Each
server's own capacity is measured first; the rates are shares of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import report
from bench.contenders import CONTENDERS, OURS
from bench.lab import inference, keys, workloads
from bench.lab.arms import Running, all_running, of_contender
from bench.lab.cores import Cores
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.quiet import Quiet
from bench.lab.report import document, lines_chart
from bench.lab.results import Curves
from bench.lab.workloads import Cell
from bench.lab.workplace import Opened, Workplace
from bench.load import Exchange, WrongAnswer
from bench.open_loop import OpenLoop, Window, percentile_ms

SHARES = tuple(n / 10 for n in range(1, 10))
PEERS = (OURS, "Go", "Fastify")
# Enough that a due request finds one free at any rate below the capacity.
_CONNECTIONS = 256
_CAPACITY_CONNECTIONS = 32
_DRAIN_S = 10.0
METHOD = "Poisson arrivals; latencies from when a request was due; medians of the rounds."
# The share of a capacity at which a service is busy and should still be quick.
BUSY = 0.7
# Latencies that are compared, by their titles.
MEASURES = {"p50, ms": "p50_ms", "p99, ms": "p99_ms"}
# Below the axis of its plots.
BELOW = "requests offered in a second"
# Where its results go by default, and the report of the ladder looks for them beside its own.
NAME = "lab-curves"


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab curves`."""
    found = argparse.ArgumentParser(
        prog="lab curves", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("--names", nargs="+", choices=[*CONTENDERS], default=PEERS)
    found.add_argument("--workload", choices=workloads.READS, default=workloads.USER)
    found.add_argument("--keys", choices=(keys.ZIPF, keys.HOT), default=keys.ZIPF)
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--seconds", type=float, default=4.0, help="at each rate")
    found.add_argument("--users", type=int, default=10_000)
    report.add_out(found, NAME)
    return found


@dataclass(frozen=True, slots=True)
class Point:
    """One window at one rate. Latencies from when a request was due, milliseconds."""

    name: str
    number: int
    share: float
    offered_per_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    unsent: int
    # How late requests left, for the load's own sake: p99.
    lag_ms: float


class Timed:
    """A read, in an open loop."""

    def __init__(self, read: Exchange) -> None:
        self.data = read.data
        self.kind = "read"
        self.accept = read.accept

    def refused(self, body: bytes) -> None:
        """A 503, which is no answer in time."""


def plan_of(options: argparse.Namespace) -> Plan:
    """Arms, and the population that they share."""
    for name in options.names:
        CONTENDERS[name].install()
    return Plan(
        arms=tuple(of_contender(CONTENDERS[name]) for name in options.names),
        cells=(Cell(options.workload, options.keys),),
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up_s=1.0,
        connections=_CONNECTIONS,
        users=options.users,
        requests_max=4000,
    )


async def measure(plan: Plan, cores: Cores, progress: Progress, opened: Opened) -> list[Point]:
    """Every rate of every arm, each round in another order. Raises WrongAnswer, RuntimeError."""
    points: list[Point] = []
    async with opened as workplace:
        progress.begin(plan.rounds * len(plan.arms) * (1 + len(SHARES)), takes_s(plan))
        for number in range(1, plan.rounds + 1):
            chance = random.Random(number)
            os.sched_setaffinity(0, set(cores.all))
            async with all_running(
                plan.arms, workplace.environment, cores.server, workplace.urls
            ) as running:
                os.sched_setaffinity(0, {cores.load})
                for arm in chance.sample(plan.arms, len(plan.arms)):
                    found = _one_arm(plan, number, running[arm.name], workplace, progress)
                    points += found
    return points


def takes_s(plan: Plan) -> float:
    """About how long it takes."""
    each = (plan.warm_up_s + plan.seconds) + len(SHARES) * (plan.seconds + 0.2)
    return 30 + plan.rounds * len(plan.arms) * (each + 2)


def _one_arm(
    plan: Plan, number: int, running: Running, workplace: Workplace, progress: Progress
) -> Iterator[Point]:
    [source, *_] = workplace.requests.sources(plan.cells[0], 1, number)
    loop = OpenLoop(running.port, plan.connections, map(Timed, source))
    try:
        loop.closed(_CAPACITY_CONNECTIONS, plan.warm_up_s)
        loop.drain(_DRAIN_S)
        full = loop.closed(_CAPACITY_CONNECTIONS, plan.seconds)
        capacity = len(full.good()) / full.seconds
        loop.drain(_DRAIN_S)
        if not capacity:
            raise WrongAnswer(f"{running.arm.name} answered nothing in {plan.seconds:g} s")
        progress.step(f"{running.arm.name}: {capacity:,.0f}/s")
        for share in random.Random(number).sample(SHARES, len(SHARES)):
            rate = capacity * share
            window = loop.run(rate, plan.seconds)
            loop.drain(_DRAIN_S)
            progress.step(f"{running.arm.name} at {share:.0%}")
            yield _point(running.arm.name, number, share, rate, window)
    finally:
        loop.close()


def _point(name: str, number: int, share: float, rate: float, window: Window) -> Point:
    good = [one.latency_s for one in window.good()]
    return Point(
        name=name,
        number=number,
        share=share,
        offered_per_s=rate,
        answered_per_s=len(good) / window.seconds,
        p50_ms=percentile_ms(good, 0.5),
        p99_ms=percentile_ms(good, 0.99),
        p999_ms=percentile_ms(good, 0.999),
        unsent=window.unsent,
        lag_ms=percentile_ms(window.lags_s, 0.99),
    )


def medians(points: Sequence[Point]) -> list[Point]:
    """The medians of the rounds, name by name, from the lowest rate up."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for one in points:
        groups.setdefault((one.name, one.share), []).append(one)
    names = ("offered_per_s", "answered_per_s", "p50_ms", "p99_ms", "p999_ms", "lag_ms")
    found = []
    for (_, _), each in sorted(groups.items()):
        middle = {name: median(getattr(one, name) for one in each) for name in names}
        found.append(replace(each[0], number=0, unsent=sum(one.unsent for one in each), **middle))
    return found


def lines(points: Sequence[Point], facts: dict[str, str], noise: Quiet, title: str) -> list[str]:
    """The page of the curves, as lines of Markdown."""
    crowded = [] if noise.is_quiet else [f"**Not to be published.** The machine: {noise}.", ""]
    return [
        f"# How late answers are at each offered rate: {title}",
        "",
        *report.heading(facts),
        "",
        *crowded,
        METHOD,
        "",
        *[f"- {one}" for one in sentences(points)],
        "",
        "| | of its capacity | offered, 1/s | answered, 1/s | p50, ms | p99, ms | p99.9, ms "
        "| not sent | load late by, p99, ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *[
            f"| {one.name} | {one.share:.0%} | {one.offered_per_s:,.0f} "
            f"| {one.answered_per_s:,.0f} | {one.p50_ms:.2f} | {one.p99_ms:.2f} "
            f"| {one.p999_ms:.2f} | {one.unsent} | {one.lag_ms:.2f} |"
            for one in medians(points)
        ],
    ]


def sentences(points: Sequence[Point], ours: str = OURS) -> list[str]:
    """Our latencies at the rate that is BUSY of each peer's capacity, and of our own."""
    middles = medians(points)
    found = []
    for peer in _names(middles):
        theirs = next((one for one in middles if (one.name, one.share) == (peer, BUSY)), None)
        if theirs is None or ours not in _names(middles):
            continue
        rate = theirs.offered_per_s
        said = f"At {BUSY:.0%} of {peer}'s capacity, {rate:,.0f} requests in a second: "
        if peer == ours:
            found.append(f"{said}p50 {theirs.p50_ms:.2f} ms, p99 {theirs.p99_ms:.2f} ms.")
            continue
        p50, p99 = (at_rate(middles, ours, value, rate) for value in MEASURES.values())
        if p50 is None or p99 is None:
            found.append(f"{said}more than {ours} was offered.")
        else:
            found.append(
                f"{said}p50 {p50:.2f} ms with {ours}, {theirs.p50_ms:.2f} ms with {peer}; p99 "
                f"{p99:.2f} and {theirs.p99_ms:.2f} ms."
            )
    return found


def at_rate(middles: Sequence[Point], name: str, value: str, rate: float) -> float | None:
    """A latency at a rate between two that were offered, on the line between these; else None.

    Latencies grow ever faster with the rate, so that the line lies above the curve. Below the
    lowest rate it is that one's.
    """
    line = _line(middles, name, value)
    if rate <= line[0][0]:
        return line[0][1]
    for (low, first), (high, last) in itertools.pairwise(line):
        if low <= rate <= high:
            return first + (last - first) * (rate - low) / (high - low)
    return None


def comparisons(points: Sequence[Point], cell: Cell, ours: str = OURS) -> list[dict[str, Any]]:
    """Our latencies beside each peer's, both at the same share of their own capacity.

    A ratio is the peer's latency over ours in the same round; Holm's correction is over all.
    """
    by_key = {(one.name, one.share, one.number): one for one in points}
    rounds = sorted({one.number for one in points})
    drafts: list[tuple[str, float, str, list[tuple[float, float]]]] = []
    for peer in _names(points):
        for share in sorted({one.share for one in points}):
            for measure, value in MEASURES.items():
                found = [
                    (getattr(by_key[ours, share, n], value), getattr(by_key[peer, share, n], value))
                    for n in rounds
                    if (ours, share, n) in by_key and (peer, share, n) in by_key
                ]
                # 0: nothing was answered.
                pairs = [(a, b) for a, b in found if a > 0 and b > 0]
                if peer != ours and len(pairs) >= inference.ROUNDS_MIN:
                    drafts.append((peer, share, measure, pairs))
    verdicts = inference.verdicts(
        [inference.effect([math.log(b / a) for a, b in pairs]) for *_, pairs in drafts]
    )
    return [
        {
            "kind": "peer",
            "with": ours,
            "without": peer,
            "workload": cell.workload,
            "keys": cell.population,
            "share_of_capacity": share,
            "measures": {measure: document.measure(verdict)},
            "rounds": [{"with_ms": a, "without_ms": b} for a, b in pairs],
        }
        for (peer, share, measure, pairs), verdict in zip(drafts, verdicts, strict=True)
    ]


def write(
    out: Path, points: Sequence[Point], facts: dict[str, str], noise: Quiet, cell: Cell
) -> str:
    """`report.md`, `report.json` and `report.html` in a directory; gives the Markdown."""
    title = cell.title
    out.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*lines(points, facts, noise, title), ""])
    (out / "report.md").write_text(text, encoding="utf-8")
    written = {
        "facts": facts,
        "method": METHOD,
        "asked": title,
        "not_to_be_published": [] if noise.is_quiet else [f"The machine was crowded: {noise}."],
        "noise": asdict(noise),
        "rounds": len({one.number for one in points}),
        "comparisons": comparisons(points, cell),
        "sentences": sentences(points),
        "points": [asdict(one) for one in points],
    }
    (out / "report.json").write_text(json.dumps(written, indent=1) + "\n")
    page = lines_chart.page(f"How late answers are: {title}", panels(points), BELOW, text)
    (out / "report.html").write_text(page, encoding="utf-8")
    return text


def panels(points: Sequence[Point]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Latencies over the offered rate, by panel and by name."""
    middles = medians(points)
    return {
        title: {name: _line(middles, name, value) for name in _names(middles)}
        for title, value in MEASURES.items()
    }


def read(directory: Path) -> Curves | None:
    """The curves of a run, as another report shows them, if there was one in that directory."""
    path = directory / "report.json"
    if not path.exists():
        return None
    written = json.loads(path.read_text(encoding="utf-8"))
    facts = written["facts"]
    words = (
        f"{written['asked']}. An open loop: requests leave when they are due, and latencies are "
        f"counted from then. {facts['date']}, commit {facts['commit']}."
    )
    found = panels([Point(**one) for one in written["points"]])
    return Curves(words, written["not_to_be_published"], found, BELOW)


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(one.name for one in points))


def _line(points: Sequence[Point], name: str, value: str) -> list[tuple[float, float]]:
    return [(one.offered_per_s, getattr(one, value)) for one in points if one.name == name]
