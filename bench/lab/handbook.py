"""`bench/METHODS.md` from the data of a run: each method, and what it brought.

bash build.sh lab methods REPORT.json > bench/METHODS.md
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.lab.arms import Kind
from bench.lab.findings import CPU
from bench.lab.inference import bare, percent
from bench.lab.methods import Method, method
from bench.lab.workloads import Cell

_KINDS = {
    Kind.LADDER: "On the ladder",
    Kind.LEFT_OUT: "Left out of the whole service, it takes away",
    Kind.ADVISED: "Beside its rung",
}
Comparison = Mapping[str, Any]


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab methods`."""
    found = argparse.ArgumentParser(
        prog="lab methods", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("report", type=Path, metavar="REPORT.json", help="of a whole run")
    found.add_argument(
        "--anyway", action="store_true", help="though the report says not to publish it"
    )
    return found


def lines(document: Mapping[str, Any]) -> list[str]:
    """The page. Methods that bring most come first, those that bring nothing last."""
    of: dict[str, list[Comparison]] = {}
    for one in document["comparisons"]:
        if one["kind"] != Kind.SAME and len(one["methods"]) == 1:
            of.setdefault(one["methods"][0], []).append(one)
    order = sorted(of, key=lambda name: -_middle(of[name]))
    facts = document["facts"]
    warnings = [
        line
        for one in document["not_to_be_published"]
        for line in (f"**Not to be published.** {one}", "")
    ]
    page = [
        "# Methods, and what each brought",
        "",
        "Made by `lab methods` from a run of the laboratory. A gain is how many more requests the "
        "same CPU time of the server answers: +100 % is half of the cost. In brackets: the 95 % "
        "interval.",
        "",
        f"{facts['date']}; {facts['machine']}; {facts['kernel']}; commit {facts['commit']}; "
        f"Python {facts['python']}; {document['rounds']} rounds.",
        "",
        *warnings,
    ]
    for name in order:
        if (known := method(name)) is not None:
            page += _section(known, of[name])
    return page


def _section(method: Method, comparisons: Sequence[Comparison]) -> list[str]:
    found = [f"## {method.title}", "", method.what, ""]
    for kind, words in _KINDS.items():
        mine = [one for one in comparisons if one["kind"] == kind]
        found += [f"- {words}: {text}" for text in _by_keys(mine)]
    return [
        *found,
        f"- It does not pay: {method.when_not}",
        "",
        f"```{method.language}",
        *method.snippet.splitlines(),
        "```",
        "",
    ]


def _by_keys(comparisons: Sequence[Comparison]) -> list[str]:
    """A line for each population of keys: what is seen in which workload, and where nothing is."""
    result = []
    for keys in dict.fromkeys(one["keys"] for one in comparisons):
        seen, unseen = [], []
        for one in comparisons:
            if one["keys"] != keys:
                continue
            measure = one["measures"][CPU]
            title = Cell(one["workload"], "").title
            if "no difference" in measure["verdict"]:
                unseen.append(title)
            else:
                low, high = map(math.log, measure["interval"])
                gain = percent(math.log(measure["ratio"]))
                seen.append(f"{title} {gain} % [{bare(low)}, {bare(high)}]")
        if unseen:
            seen.append(f"no difference seen for {', '.join(unseen)}")
        result.append((f"{keys} keys: " if keys else "") + "; ".join(seen) + ".")
    return result


def _middle(comparisons: Sequence[Comparison]) -> float:
    ratios = [math.log(one["measures"][CPU]["ratio"]) for one in comparisons]
    return sum(ratios) / len(ratios)


def read(path: Path) -> Mapping[str, Any]:
    """A report's JSON. Raises ValueError for what is none, OSError."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or "comparisons" not in document:
        raise ValueError(f"{path} is no report of the lab")
    return document
