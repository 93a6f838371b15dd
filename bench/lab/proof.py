"""Whether the lab is to be believed: one service beside itself, and beside itself slowed down.

    bash build.sh lab aa

Of a hundred comparisons of a service with itself at most five may show a difference, and a slowdown
of 3 % is found in nine of ten.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench import report
from bench.lab import catalog, findings, inference, keys, workloads
from bench.lab.arms import Arm, Kind
from bench.lab.plan import Plan
from bench.lab.quiet import Quiet
from bench.lab.report import document
from bench.lab.window import Window

# Where its results go.
NAME = "lab-aa"
SLOWDOWN = 0.03
_PLAIN = next(one for one in catalog.LADDER if one.name == "plain-asgi")
_SLOWED = "bench.lab.rungs.slowed:app"
# What is promised.
WRONG_MAX = 0.05
# Of so few comparisons as one run's own A/A arm gives, one may be chance.
WRONG_FEW = 1
FOUND_MIN = 0.9


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    found = argparse.ArgumentParser(
        prog="lab aa", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("--sets", type=int, default=5, help="of rounds, each judged alone")
    found.add_argument("--rounds", type=int, default=10, help="of one set")
    found.add_argument("--pairs", type=int, default=10, help="of the same arm, started twice")
    found.add_argument("--slowed", type=int, default=2, help="arms with the slowdown")
    found.add_argument("--seconds", type=float, default=0.6, help="of a window")
    found.add_argument("--warm-up", type=float, default=0.4, help="seconds before a window")
    found.add_argument("--users", type=int, default=5000)
    found.add_argument("--connections", type=int, default=32)
    found.add_argument(
        "--of", type=Path, metavar="REPORT.json", help="judge the A/A arm of a run that was made"
    )
    report.add_out(found, NAME)
    return found


def of_report(report_of: Mapping[str, Any]) -> tuple[list[Window], list[Arm]]:
    """A run's own A/A arm, with no slowdown in it."""
    pairs = {
        (one["with"], one["without"])
        for one in report_of["comparisons"]
        if one["kind"] == Kind.SAME
    }
    names = {name for pair in pairs for name in pair}
    windows = [Window(**one) for one in report_of["windows"] if one["arm"] in names]
    arms = [Arm(again, "nothing", (), without=one, kind=Kind.SAME) for again, one in sorted(pairs)]
    return windows, arms


def plan_of(options: argparse.Namespace) -> Plan:
    """Pairs of the same, and slowed ones beside the first of them."""
    made: list[Arm] = []
    for number in range(1, options.pairs + 1):
        one = replace(_PLAIN, name=f"a{number}", without=None, kind=Kind.SAME)
        made += [one, replace(one, name=f"b{number}", without=one.name)]
    for number in range(1, options.slowed + 1):
        argv = (*_PLAIN.argv[:-1], _SLOWED)
        environment = {**_PLAIN.environment, "LAB_SLOWDOWN": str(SLOWDOWN)}
        made.append(
            replace(
                _PLAIN,
                name=f"slowed{number}",
                argv=argv,
                environment=environment,
                without=f"a{number}",
                kind=Kind.ADVISED,
            )
        )
    return Plan(
        arms=tuple(made),
        cells=tuple(workloads.cells(workloads.QUICK, [keys.ZIPF])),
        rounds=options.sets * options.rounds,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        connections=options.connections,
        users=options.users,
        requests_max=2000,
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """How many comparisons there were, and how many were seen: each alone, and on a page of all."""

    comparisons: int
    seen_alone: int
    seen_on_page: int
    # The spread of a comparison's log ratio: the median.
    spread: float


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof from one arm run twice, and from slowed ones.

    `estimates`: the slowdowns that were seen.
    """

    same: Tally
    slowed: Tally
    estimates: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """Whether what is promised is so."""
        few = self.same.seen_on_page <= max(WRONG_MAX * self.same.comparisons, WRONG_FEW)
        return few and self.slowed.seen_alone >= FOUND_MIN * self.slowed.comparisons


def proof(windows: Sequence[Window], arms: Sequence[Arm], rounds_of_set: int) -> Proof:
    """Judge each set of rounds alone, as a run of its own would be."""
    by_key = {(one.arm, _cell(one), one.round): one.cpu_us for one in windows}
    sets: dict[int, list[int]] = {}
    for number in sorted({one.round for one in windows}):
        sets.setdefault((number - 1) // rounds_of_set, []).append(number)
    found: dict[Kind, list[tuple[inference.Verdict, inference.Verdict]]] = {}
    for rounds in sets.values():
        if len(rounds) < rounds_of_set:
            continue
        names = dict.fromkeys(map(_cell, windows))
        held = [(arm, name) for arm in arms if arm.without for name in names]
        effects = [
            inference.effect(
                [
                    math.log(by_key[arm.name, name, n] / by_key[arm.without or "", name, n])
                    for n in rounds
                ]
            )
            for arm, name in held
        ]
        for kind in (Kind.SAME, Kind.ADVISED):
            mine = [
                effect for (arm, _), effect in zip(held, effects, strict=True) if arm.kind == kind
            ]
            alone = [inference.verdicts([one])[0] for one in mine]
            found.setdefault(kind, []).extend(zip(alone, inference.verdicts(mine), strict=True))
    slowed = found.get(Kind.ADVISED, [])
    estimates = tuple(math.expm1(alone.effect.mean) for alone, _ in slowed)
    return Proof(_tally(found.get(Kind.SAME, [])), _tally(slowed), estimates)


def _cell(one: Window) -> str:
    return f"{one.workload} {one.population}"


def _tally(found: Sequence[tuple[inference.Verdict, inference.Verdict]]) -> Tally:
    spreads = sorted(alone.effect.spread for alone, _ in found)
    return Tally(
        len(found),
        sum(alone.is_seen for alone, _ in found),
        sum(page.is_seen for _, page in found),
        spreads[len(spreads) // 2] if spreads else math.nan,
    )


def sentences(found: Proof) -> list[str]:
    """What came out, in sentences."""
    same, slowed = found.same, found.slowed
    is_few = WRONG_MAX * same.comparisons < WRONG_FEW
    of_few = f"; of so few, {WRONG_FEW} may be chance" if is_few else ""
    estimates = ", ".join(f"{one:+.1%}" for one in found.estimates)
    found_slow = [
        f"Slowed down by {SLOWDOWN:.0%}: found in {slowed.seen_alone} of {slowed.comparisons} "
        f"comparisons. Promised: {FOUND_MIN:.0%}. Seen as {estimates}."
    ]
    return [
        f"The same twice: {same.comparisons} comparisons, of which {same.seen_alone} show a "
        f"difference when each is a page of its own, and {same.seen_on_page} when those of one "
        f"run are a page. Promised: at most {WRONG_MAX:.0%}{of_few}. Standard error of one, "
        f"median: {same.spread:.2%}.",
        *(found_slow if slowed.comparisons else []),
    ]


def lines(found: Proof, facts: dict[str, str], noise: Quiet, words: Sequence[str]) -> list[str]:
    """The proof as lines of Markdown."""
    crowded = [] if noise.is_quiet else [f"**Not to be published.** The machine: {noise}.", ""]
    return [
        "# Is the lab to be believed?",
        "",
        *report.heading(facts),
        "",
        *crowded,
        *[f"- {one}" for one in sentences(found)],
        f"- So {'it is' if found.holds else 'it is not'}.",
        "",
        *words,
    ]


def write(
    out: Path,
    found: Proof,
    windows: Sequence[Window],
    arms: Sequence[Arm],
    facts: dict[str, str],
    noise: Quiet,
    words: Sequence[str],
) -> str:
    """`report.md` and `report.json` in a directory; gives the Markdown.

    The comparisons of the file are those of all rounds together.
    """
    text = "\n".join([*lines(found, facts, noise, words), ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(text, encoding="utf-8")
    written = {
        "facts": facts,
        "method": " ".join(words),
        "not_to_be_published": [] if noise.is_quiet else [f"The machine was crowded: {noise}."],
        "noise": asdict(noise),
        "rounds": len({one.round for one in windows}),
        "comparisons": [document.comparison(one) for one in findings.comparisons(windows, arms)],
        "sentences": sentences(found),
        "proof": asdict(found),
        "holds": found.holds,
        "windows": [asdict(one) for one in windows],
    }
    (out / "report.json").write_text(json.dumps(written, indent=1, allow_nan=True) + "\n")
    return text
