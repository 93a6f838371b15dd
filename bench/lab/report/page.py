"""A run as one HTML page, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.lab import findings
from bench.lab.arms import Kind
from bench.lab.findings import Comparison
from bench.lab.inference import bare, percent
from bench.lab.methods import method
from bench.lab.report import bars, flame, lines_chart
from bench.lab.report.markdown import BEST
from bench.lab.results import Results
from bench.lab.workloads import Cell

_STYLE = Path(__file__).with_name("page.css")
# Whose code had less of the time is not named.
_SHARE_MIN = 0.005
_GAIN = (
    "A gain is how many more requests the same CPU time of the server answers: +100 % is half of "
    "the cost."
)


def html(results: Results) -> str:
    """A run as one HTML page."""
    title = escape(results.heading)
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="soft">{_where(results)}</p>',
        *(
            f'<p class="warning"><strong>Not to be published.</strong> {escape(one)}</p>'
            for one in results.warnings()
        ),
        _best(results),
        _ladder(results),
        _sure(results),
        _kind(results, Kind.LEFT_OUT),
        _kind(results, Kind.ADVISED),
        _both_ways(results),
        _kind(results, Kind.SAME),
        _curves(results),
        _flames(results),
        _figures(results),
        _method(results),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body>{''.join(filter(None, parts))}</body></html>\n"
    )


def _where(results: Results) -> str:
    names = ("date", "machine", "kernel", "commit")
    return escape(" · ".join(results.facts[name] for name in names if name in results.facts))


def _best(results: Results) -> str:
    best = findings.best(results.comparisons)[:BEST]
    if not best:
        return "<h2>What brings most</h2><p>No method is surely a gain here.</p>"
    cards = []
    for one in best:
        effect = one.effect
        known = method(one.methods[-1])
        snippet = f"<pre>{escape(known.snippet)}</pre>" if known else ""
        cards.append(
            f"<li><strong>{escape(results.title_of(one.methods))}</strong>"
            f'<div class="number">{percent(effect.mean)} % '
            f"<small>[{bare(effect.low)}, {bare(effect.high)}], surely in {one.seen} of "
            f"{one.cells}</small></div>{snippet}</li>"
        )
    head = f'<h2>What brings most</h2><p class="soft">{_GAIN}</p>'
    return f'{head}<ol class="cards">{"".join(cards)}</ol>'


def _ladder(results: Results) -> str:
    cells = [cell for cell in results.cells if results.of_kind(Kind.LADDER, cell)]
    if not cells:
        return ""
    first, *others = cells
    drawn = [f"<h3>{escape(first.title)}</h3>{_waterfall(results, first)}"]
    drawn += [
        f"<details><summary>{escape(cell.title)}</summary>{_waterfall(results, cell)}</details>"
        for cell in others
    ]
    return (
        f"<h2>{escape(_ladder_title(results, first))}</h2>"
        f'<p class="soft">{results.parts[Kind.LADDER][1]} Green is a '
        f"gain, grey is no difference that was seen, red is a loss.</p>{''.join(drawn)}"
    )


def _ladder_title(results: Results, cell: Cell) -> str:
    rungs = results.of_kind(Kind.LADDER, cell)
    cost = {one.arm: one.cpu_us for one in results.figures if one.cell == cell}
    times = cost[rungs[0].without_arm] / cost[rungs[-1].with_arm]
    return f"From the first rung to the last: {times:.1f} times less CPU"


def _waterfall(results: Results, cell: Cell) -> str:
    figures = {one.arm: one for one in results.figures if one.cell == cell}
    return bars.waterfall(results, results.of_kind(Kind.LADDER, cell), figures)


def _kind(results: Results, kind: Kind) -> str:
    if not results.of_kind(kind):
        return ""
    title, words = results.parts[kind]
    drawn = []
    if kind == Kind.SAME:
        drawn.append(bars.intervals(results, results.of_kind(kind), cells=True))
    else:
        for number, cell in enumerate(results.cells):
            if found := results.of_kind(kind, cell):
                drawn.append(_cell(results, found, cell, is_open=number == 0))
    return f'<h2>{escape(title)}</h2><p class="soft">{escape(words)}</p>{"".join(drawn)}'


def _cell(results: Results, found: Sequence[Comparison], cell: Cell, *, is_open: bool) -> str:
    drawn = bars.intervals(results, found, cells=False)
    if is_open:
        return f"<h3>{escape(cell.title)}</h3>{drawn}"
    return f"<details><summary>{escape(cell.title)}</summary>{drawn}</details>"


def _sure(results: Results) -> str:
    lines = "".join(f"<li>{escape(one)}</li>" for one in results.sureness())
    return f"<h2>How sure</h2><ul>{lines}</ul>"


def _both_ways(results: Results) -> str:
    both = findings.interactions(results.comparisons)
    if not both:
        return ""
    rows = [
        [
            results.title_of((one.method,)),
            one.cell.title,
            str(one.added),
            str(one.left_out),
            f"[{percent(one.low)}, {percent(one.high)}]",
        ]
        for one in both
    ]
    head = ["method", "asked for", "added on the ladder", "left out of ours", "difference"]
    return (
        "<details><summary>Both ways: added on the ladder, and left out of ours</summary>"
        '<p class="soft">Far from 0, methods do each other’s work.</p>'
        f"{_rows(head, rows)}</details>"
    )


def _curves(results: Results) -> str:
    found = results.curves
    if found is None:
        return ""
    warnings = "".join(
        f'<p class="warning"><strong>Not to be published.</strong> {escape(one)}</p>'
        for one in found.warnings
    )
    drawn = "".join(
        f"<h3>{escape(name)}</h3>{lines_chart.panel(lines, found.below)}"
        for name, lines in found.panels.items()
    )
    return (
        f"<h2>How late answers are at each offered rate</h2>{warnings}"
        f'<p class="soft">{escape(found.words)}</p>{drawn}'
    )


def _flames(results: Results) -> str:
    found = results.flames
    if found is None:
        return ""
    head = "<h2>Flame graphs of the first and the last</h2>"
    if found.why_not:
        return f'{head}<p class="soft">There are none: {escape(found.why_not)}.</p>'
    drawn = []
    places = ["The first arm", "The last arm"]
    if results.of_kind(Kind.LADDER):
        places = ["The first rung", "The last rung, with all those below"]
    for place, (arm, stacks) in zip(places, found.stacks.items(), strict=False):
        root = flame.tree(stacks)
        owners = " ".join(
            f'<span><i style="background:{flame.COLOURS[owner]}"></i>{owner} {share:.0%}</span>'
            for owner, share in flame.shares(root).items()
            if share >= _SHARE_MIN
        )
        title = f"{place}: {results.title_of((arm,))}"
        graph = flame.svg(root, f"Flame graph of {title}, {found.cell}")
        drawn.append(
            f'<h3>{escape(title)}</h3><p class="owners">{owners}</p><div class="wide">{graph}</div>'
        )
    words = (
        f"{found.cell}. The outermost calls are on top; what is called stands below, as wide as "
        "its share of the time. Only Python's own calls are seen: what C or Rust does inside of "
        "one is its own time."
    )
    return f'{head}<p class="soft">{escape(words)}</p>{"".join(drawn)}'


def _figures(results: Results) -> str:
    head = [
        "arm", "server CPU, µs", "database CPU, µs", "requests/s", "p50, ms", "p99, ms",
        "memory, MB", "load busy", "others on its core",
    ]  # fmt: skip
    drawn = []
    for cell in results.cells:
        rows = [
            [
                one.arm,
                f"{one.cpu_us:,.0f}",
                f"{one.database_cpu_us:,.0f}",
                f"{one.per_s:,.0f}",
                f"{one.p50_ms:.2f}",
                f"{one.p99_ms:.2f}",
                f"{one.memory_mb:.0f}",
                f"{one.load_busy:.0%}",
                f"{one.others:.0%}",
            ]
            for one in results.figures
            if one.cell == cell
        ]
        drawn.append(
            f"<details><summary>{escape(cell.title)}</summary>{_rows(head, rows)}</details>"
        )
    return f"<h2>Medians of every arm</h2>{''.join(drawn)}"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    table = f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{table}</table></div>'


def _method(results: Results) -> str:
    words = "".join(f"<p>{escape(one)}</p>" for one in results.words)
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in results.facts.items()
    )
    return f"<h2>Method</h2>{words}<h2>Machine and versions</h2><dl>{facts}</dl>"
