"""What pages say of the laboratory's published runs: a picture, a table, a sentence, or none yet.

A report that says of itself that it is not to be published is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import chart, published
from bench.lab import agreement, frames, proof, shown
from bench.lab import curves as curves_module
from bench.lab.arms import Kind
from bench.lab.curves import Point
from bench.lab.findings import CPU
from bench.lab.methods import title
from bench.lab.report import lines_chart
from bench.lab.workloads import Cell

_NONE = "No run on a quiet machine is published yet: `{line}` makes one."
_LADDER = "bash build.sh lab ladder advised left-out --minutes 25 --publish"
_CURVES = "bash build.sh lab curves --publish"
_BELIEVED = "bash build.sh lab aa --publish"
_FRAMES = "bash build.sh lab frames --publish"
_FOREIGN = "bash build.sh lab foreign --publish"
Document = Mapping[str, Any]


def ladder() -> Document | None:
    """The published report of the ladder."""
    return _report("lab")


def curves() -> Document | None:
    """The published report of the curves."""
    return _report(curves_module.NAME)


def _report(name: str) -> Document | None:
    path = published.file(name) / "report.json"
    if not path.exists():
        return None
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return None if document["not_to_be_published"] else document


def steps(document: Document) -> list[chart.Step]:
    """The rungs of the first cell: what a request costs on each."""
    rungs = [one for one in document["comparisons"] if one["kind"] == Kind.LADDER]
    first = rungs[0]
    cell = Cell(first["workload"], first["keys"])
    cost = {one["arm"]: one["cpu_us"] for one in document["arms"] if one["cell"] == str(cell)}
    found = [chart.Step(title((first["without"],)), cost[first["without"]], "")]
    for one in rungs:
        if (one["workload"], one["keys"]) == (cell.workload, cell.population):
            verdict = one["measures"][CPU]["verdict"]
            words = "no difference seen" if verdict.startswith("no difference") else verdict
            found.append(chart.Step(title(tuple(one["methods"])), cost[one["with"]], words))
    return found


def picture(document: Document) -> str:
    """The waterfall of the ladder as SVG."""
    return chart.waterfall(
        f"What a request costs on each rung: {_asked(document)}", steps(document)
    )


def _asked(document: Document) -> str:
    first = next(one for one in document["comparisons"] if one["kind"] == Kind.LADDER)
    return Cell(first["workload"], first["keys"]).title


def headline(page: Path) -> str:
    """What the root README says of the ladder; nothing before a run is published."""
    document = ladder()
    if document is None:
        return ""
    costs = [one.cost for one in steps(document)]
    return (
        f"\n![What a request costs on each rung]({published.link('lab/ladder.svg', page)})\n\n"
        f"The ladder, for {_asked(document)}: {costs[0]:,.0f} µs of server CPU on the first rung, "
        f"{costs[-1]:,.0f} µs on the last one. [What each method brings](bench/METHODS.md), "
        f"[the whole report]({published.link('lab/report.md', page)}).\n"
    )


def ladder_words(page: Path) -> str:
    """The picture of the ladder, and where all of it is."""
    document = ladder()
    if document is None:
        return _NONE.format(line=_LADDER)
    facts = document["facts"]
    return (
        f"![What a request costs on each rung]({published.link('lab/ladder.svg', page)})\n\n"
        f"{facts['date']}; {facts['machine']}; commit {facts['commit']}; {document['rounds']} "
        f"rounds. [The whole report]({published.link('lab/report.md', page)}), "
        f"[the same as a page]({published.link('lab/report.html', page)}), "
        "[each method in ten lines](METHODS.md)."
    )


def curves_picture(document: Document) -> str:
    """p99 over the offered rate as SVG."""
    found = curves_module.panels([Point(**one) for one in document["points"]])
    return lines_chart.alone("p99 in milliseconds", found["p99, ms"], curves_module.BELOW)


def curves_words(page: Path) -> str:
    """The picture of the curves, and where all of it is."""
    document = curves()
    if document is None:
        return _NONE.format(line=_CURVES)
    return (
        f"![p99 over the offered rate]({published.link('lab-curves/curves.svg', page)})\n\n"
        + "".join(f"- {one}\n" for one in document["sentences"])
        + "\n"
        + f"{document['facts']['date']}; {document['facts']['machine']}. [All figures]"
        f"({published.link('lab-curves/report.md', page)})."
    )


def believed_words(page: Path) -> str:
    """What came out of the two proofs: one arm twice, and the same runs at different hours."""
    found = []
    for name in (proof.NAME, agreement.NAME):
        if (document := _report(name)) is not None:
            facts = document["facts"]
            found += [f"- {one}" for one in document["sentences"]]
            found[-1] += (
                f" {facts['date']}, {facts['machine']}: [all of it]"
                f"({published.link(f'{name}/report.md', page)})."
            )
    return "\n".join(found) if found else _NONE.format(line=_BELIEVED)


def frames_words(page: Path) -> str:
    """What a frame costs the servers of websockets, as a table."""
    document = _report(frames.NAME)
    if document is None:
        return _NONE.format(line=_FRAMES)
    facts = document["facts"]
    rows = [
        f"| {title((one['with'],))} | {title((one['without'],))} | {one['workload']} "
        f"| {one['measures'][CPU]['verdict']} |"
        for one in document["comparisons"]
        if one["kind"] != Kind.SAME
    ]
    return "\n".join(
        [
            "| with | instead of | scene | more frames for the same CPU |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"{facts['date']}; {facts['machine']}; commit {facts['commit']}. [All figures]"
            f"({published.link(f'{frames.NAME}/report.md', page)}).",
        ]
    )


def foreign_words() -> str:
    """What was found with services that nobody here wrote."""
    lines: Sequence[str] = shown.lines(published.file("lab/foreign"))
    return "\n".join(lines) if lines else _NONE.format(line=_FOREIGN)
