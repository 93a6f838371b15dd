"""A run of the lab as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.lab import findings
from bench.lab.findings import CPU, THROUGHPUT, Comparison
from bench.lab.inference import bare, percent
from bench.lab.methods import method
from bench.lab.results import Results
from bench.report import heading

BEST = 5


def lines(results: Results) -> list[str]:
    """The lines of the whole page."""
    found = [f"# {results.heading}", "", *heading(results.facts), ""]
    for warning in results.warnings():
        found += [f"**Not to be published.** {warning}", ""]
    found += [
        "A gain is how many more requests the same CPU time of the server answers: +100 % is half "
        "of the cost.",
        "",
        *_best(results),
    ]
    for kind, (title, words) in results.parts.items():
        if one := results.of_kind(kind):
            found += [f"## {title}", "", words, "", *_table(results, one), ""]
    found += [*_both_ways(results), *_medians(results), "## How sure", ""]
    found += [f"- {one}" for one in results.sureness()]
    return [*found, "", "## Method", "", *results.words]


def _best(results: Results) -> list[str]:
    best = findings.best(results.comparisons)[:BEST]
    if not best:
        return ["No method is surely a gain here.", ""]
    found = [f"## The {len(best)} that bring most", ""]
    for place, one in enumerate(best, 1):
        effect = one.effect
        found += [
            f"{place}. **{results.title_of(one.methods)}**: {percent(effect.mean)} % "
            f"[{bare(effect.low)}, {bare(effect.high)}], seen in {one.seen} of {one.cells}",
            "",
        ]
        if (known := method(one.methods[-1])) is not None:
            snippet = [f"   {line}" for line in known.snippet.splitlines()]
            found += [f"   ```{known.language}", *snippet, "   ```", ""]
    return found


def _table(results: Results, comparisons: Sequence[Comparison]) -> list[str]:
    cost = {(one.arm, one.cell): one for one in results.figures}
    found = [
        f"| method | asked for | {CPU}, without → with | gain | {THROUGHPUT} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in comparisons:
        without, having = (cost[arm, one.cell].cpu_us for arm in (one.without_arm, one.with_arm))
        found.append(
            f"| {results.title_of(one.methods)} | {one.cell.title} "
            f"| {without:,.0f} → {having:,.0f} µs | {one.verdict} | {one.verdicts[THROUGHPUT]} |"
        )
    return found


def _both_ways(results: Results) -> list[str]:
    both = findings.interactions(results.comparisons)
    if not both:
        return []
    found = [
        "## Both ways: added on the ladder, and left out of ours",
        "",
        "The difference is what a method brings beside the ones below it, over what it brings "
        "beside all others: far from 0, methods do each other's work.",
        "",
        "| method | asked for | added | left out | difference |",
        "| --- | --- | --- | --- | --- |",
    ]
    found += [
        f"| {results.title_of((one.method,))} | {one.cell.title} | {one.added} | {one.left_out} "
        f"| [{percent(one.low)}, {percent(one.high)}] |"
        for one in both
    ]
    return [*found, ""]


def _medians(results: Results) -> list[str]:
    found = [
        "## Medians",
        "",
        "| arm | asked for | server CPU, µs | database CPU, µs | requests/s | p50, ms | p99, ms "
        "| memory, MB | load busy | others on the server's core |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    found += [
        f"| {one.arm} | {one.cell} | {one.cpu_us:,.0f} | {one.database_cpu_us:,.0f} "
        f"| {one.per_s:,.0f} | {one.p50_ms:.2f} | {one.p99_ms:.2f} | {one.memory_mb:.0f} "
        f"| {one.load_busy:.0%} | {one.others:.0%} |"
        for one in results.figures
    ]
    return [*found, ""]
