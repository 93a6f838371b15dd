"""Whether several runs of the laboratory, made at different hours, say the same.

    bash build.sh lab agree REPORT.json REPORT.json REPORT.json

What one run calls a difference has the same sign in all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import report
from bench.lab import inference
from bench.lab.arms import Kind
from bench.lab.findings import CPU
from bench.lab.methods import title
from bench.lab.workloads import Cell

# What is promised: so many runs, each that much later than the one before.
RUNS_MIN = 3
APART_S = 3600
# Where its results go.
NAME = "lab-agreement"
_DATE = "%Y-%m-%d %H:%M %Z"
Document = Mapping[str, Any]


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab agree`."""
    found = argparse.ArgumentParser(
        prog="lab agree", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument(
        "reports", nargs="+", type=Path, metavar="REPORT.json", help="of runs of the same arms"
    )
    report.add_out(found, NAME)
    return found


@dataclass(frozen=True, slots=True)
class Repeated:
    """One comparison in all runs: what each of them measured, in the order of the runs."""

    comparison: Document
    measures: tuple[Document, ...]

    @property
    def seen(self) -> tuple[bool, ...]:
        """Whether a run calls it a difference."""
        return tuple(_is_seen(one) for one in self.measures)

    @property
    def has_one_sign(self) -> bool:
        """Whether all runs say faster, or all say slower."""
        return len({one["ratio"] > 1 for one in self.measures}) == 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """All comparisons that the runs have in common; `apart_s`: the shortest time between two."""

    runs: int
    apart_s: float
    repeated: tuple[Repeated, ...]

    @property
    def seen(self) -> list[Repeated]:
        """What at least one run calls a difference."""
        return [one for one in self.repeated if any(one.seen)]

    @property
    def opposed(self) -> list[Repeated]:
        """What one run calls a difference, and another one has with the other sign."""
        return [one for one in self.seen if not one.has_one_sign]

    @property
    def holds(self) -> bool:
        """Whether what is promised is so."""
        return self.runs >= RUNS_MIN and self.apart_s >= APART_S and not self.opposed


def agreement(documents: Sequence[Document]) -> Agreement:
    """Hold reports against each other. Raises ValueError where that makes no sense."""
    if len(documents) < 2:
        raise ValueError("one run agrees with itself: two or more reports")
    for one in documents:
        if one["not_to_be_published"]:
            raise ValueError(f"not to be published: {' '.join(one['not_to_be_published'])}")
    found = [{_key(each): each for each in one["comparisons"]} for one in documents]
    common = [key for key in found[0] if all(key in other for other in found[1:])]
    if not common:
        raise ValueError("the reports have no comparison in common")
    repeated = [
        Repeated(found[0][key], tuple(one[key]["measures"][CPU] for one in found))
        for key in common
        if found[0][key]["kind"] != Kind.SAME
    ]
    times = sorted(datetime.strptime(one["facts"]["date"], _DATE) for one in documents)
    apart = min((b - a).total_seconds() for a, b in itertools.pairwise(times))
    return Agreement(len(documents), apart, tuple(repeated))


def _key(one: Document) -> tuple[str, ...]:
    return one["kind"], one["with"], one["without"], one["workload"], one["keys"]


def _is_seen(measure: Document) -> bool:
    low, high = measure["interval"]
    return measure["p"] < 1 - inference.CONFIDENCE and not low <= 1 <= high


def sentences(found: Agreement) -> list[str]:
    """What came out, in sentences."""
    of_all = sum(all(one.seen) for one in found.seen)
    hours = found.apart_s / 3600
    return [
        f"{found.runs} runs, {hours:.1f} hours or more apart. Promised: {RUNS_MIN} of them, an "
        "hour apart.",
        f"{len(found.repeated)} comparisons in each, of which {len(found.seen)} show a difference "
        f"in at least one run, and {of_all} in all of them.",
        f"Of those {len(found.seen)}, {len(found.opposed) or 'none'} "
        f"{'has' if len(found.opposed) == 1 else 'have'} another sign in another run. "
        "Promised: none.",
    ]


def lines(found: Agreement, documents: Sequence[Document]) -> list[str]:
    """The page as lines of Markdown."""
    numbers = range(1, found.runs + 1)
    runs = [
        f"- Run {n}: {one['facts']['date']}, commit {one['facts']['commit']}, {one['rounds']} "
        "rounds."
        for n, one in zip(numbers, documents, strict=True)
    ]
    return [
        "# Do runs at different hours say the same?",
        "",
        *report.heading(dict(documents[-1]["facts"])),
        "",
        *[f"- {one}" for one in sentences(found)],
        f"- So {'they do' if found.holds else 'they do not'}.",
        "",
        *runs,
        "",
        "What a method brings, more requests for the same CPU time, wherever a run calls it a "
        "difference:",
        "",
        f"| | asked for | {' | '.join(f'run {n}' for n in numbers)} |",
        "| --- | --- |" + " --- |" * found.runs,
        *[_row(one) for one in found.seen],
        "",
        documents[-1]["method"],
    ]


def _row(repeated: Repeated) -> str:
    one = repeated.comparison
    asked = Cell(one["workload"], one["keys"]).title
    name = title(tuple(one["methods"]))
    if one["kind"] == Kind.LEFT_OUT:
        name += ", left out"
    verdicts = (measure["verdict"] for measure in repeated.measures)
    return f"| {name} | {asked} | {' | '.join(verdicts)} |"


def write(out: Path, found: Agreement, documents: Sequence[Document]) -> str:
    """`report.md` and `report.json` in a directory; gives the Markdown."""
    text = "\n".join([*lines(found, documents), ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(text, encoding="utf-8")
    names = ("kind", "methods", "with", "without", "workload", "keys")
    document = {
        "facts": documents[-1]["facts"],
        "method": documents[-1]["method"],
        "not_to_be_published": [],
        "runs": [{name: one[name] for name in ("facts", "noise", "rounds")} for one in documents],
        "comparisons": [
            {name: one.comparison[name] for name in names}
            | {"measures": {f"{CPU}, run {n}": each for n, each in enumerate(one.measures, 1)}}
            for one in found.repeated
        ],
        "sentences": sentences(found),
        "holds": found.holds,
    }
    (out / "report.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return text
