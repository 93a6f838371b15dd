"""Bars as HTML: rows that wrap on a phone, with the numbers written out beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.lab.findings import Comparison, Figures
from bench.lab.inference import Verdict
from bench.lab.report.scale import Scale
from bench.lab.results import Results

_NEVER_APART = "\N{NO-BREAK SPACE}%"


def waterfall(
    results: Results, comparisons: Sequence[Comparison], figures: dict[str, Figures]
) -> str:
    """What a request costs on each rung, from the first one down. One cell."""
    costs = [figures[comparisons[0].without_arm].cpu_us]
    costs += [figures[one.with_arm].cpu_us for one in comparisons]
    scale = Scale.of_costs(costs)
    first = figures[comparisons[0].without_arm]
    rows = [
        _row(
            results.title_of((first.arm,)),
            _bar(scale.place(math.log(first.cpu_us)), None, "start"),
            f"{first.cpu_us:,.0f} µs",
        )
    ]
    for one, before, after in zip(comparisons, costs, costs[1:], strict=False):
        ends = sorted(scale.place(math.log(cost)) for cost in (before, after))
        rows.append(
            _row(
                results.title_of(one.methods),
                _bar(ends[0], ends[1] - ends[0], _kind(one.verdict)),
                f"{after:,.0f} µs · {one.verdict}",
            )
        )
    return _chart(rows, scale, "server CPU of a request, µs: the same ratio is as long everywhere")


def intervals(results: Results, comparisons: Sequence[Comparison], *, cells: bool) -> str:
    """A bar from one end of each interval to the other, with its middle; 0 is a line."""
    effects = [one.verdict.effect for one in comparisons]
    scale = Scale.of_gains([end for one in effects for end in (one.low, one.high)])
    zero = scale.place(0)
    rows = []
    for one in comparisons:
        effect = one.verdict.effect
        low, high = scale.place(effect.low), scale.place(effect.high)
        bar = f'<i class="zero" style="left:{zero}%"></i>'
        bar += _bar(low, max(high - low, 0.4), f"interval {_kind(one.verdict)}")
        bar += f'<i class="middle" style="left:{scale.place(effect.mean)}%"></i>'
        name = results.title_of(one.methods)
        rows.append(_row(f"{name}, {one.cell.title}" if cells else name, bar, str(one.verdict)))
    return _chart(rows, scale, "more requests for the same CPU")


def _chart(rows: Sequence[str], scale: Scale, axis: str) -> str:
    ticks = "".join(
        f'<span style="left:{place}%">{escape(text)}</span>' for place, text in scale.ticks
    )
    lines = "".join(f'<i style="left:{place}%"></i>' for place, _ in scale.ticks)
    foot = f'<div class="axis"><b>{escape(axis)}</b><div class="ticks">{ticks}</div></div>'
    return f'<div class="chart">{"".join(rows)}{foot}</div>'.replace("<!--grid-->", lines)


def _row(name: str, bar: str, text: str) -> str:
    return (
        f'<div class="row"><b>{escape(name)}</b>'
        f'<div class="track"><div class="grid"><!--grid--></div>{bar}</div>'
        f"<span>{escape(text.replace(' %', _NEVER_APART))}</span></div>"
    )


def _bar(left: float, width: float | None, kind: str) -> str:
    """From the left edge where there is no width."""
    if width is None:
        left, width = 0, left
    return f'<i class="bar {kind}" style="left:{left:g}%;width:{max(width, 0.3):.4g}%"></i>'


def _kind(verdict: Verdict) -> str:
    if not verdict.is_seen:
        return "unseen"
    return "gain" if verdict.effect.mean > 0 else "loss"
