"""A chart of requests per second, as SVG that reads well by day, by night and in print."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT = 760, 130, 130
_BAR, _GAP, _GROUP_GAP, _TOP = 13, 3, 16, 14
_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.name { font-weight: 600 }
.ours { fill: #0969da } .peer { fill: #b4bcc4 } .gain { fill: #1f7a5a } .loss { fill: #b3442e }
.line { stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ours { fill: #4493f8 } .peer { fill: #57606a }
  .gain { fill: #4fbf93 } .loss { fill: #ec7f66 } .line { stroke: #3d444d }
}"""


@dataclass(frozen=True, slots=True)
class Step:
    """A rung: what a request costs there in microseconds, and what is said of the step to it."""

    name: str
    cost: float
    words: str


def bars(title: str, ours: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """A bar for each server in each group, longest value to the right edge; `ours` stands out."""
    most = max(value for group in groups.values() for value in group.values())
    shapes: list[str] = []
    y = _TOP
    for name, group in groups.items():
        middle = y + (len(group) * (_BAR + _GAP) - _GAP) / 2 + 4
        shapes.append(_text(_LEFT - 12, middle, name, "name", "end"))
        for server, value in group.items():
            shapes += _bar(y, value / most, server == ours, f"{value:,.0f}  {server}")
            y += _BAR + _GAP
        y += _GROUP_GAP
    return _document(title, y, shapes)


# Of a waterfall: where its bars begin and end, and the numbers on its axis.
_FROM, _TO, _STEP_ROW, _NUMBERS = 330, 620, 21, (1, 2, 5)
_WATERFALL_WIDTH, _NAME_LETTERS = 830, 46


def waterfall(title: str, steps: Sequence[Step]) -> str:
    """A bar from each cost to the next one, over an axis in logarithms with plain numbers."""
    costs = [one.cost for one in steps]
    low, high = math.log(min(costs) * 0.9), math.log(max(costs) * 1.05)

    def x_of(cost: float) -> float:
        return _FROM + (math.log(cost) - low) / (high - low) * (_TO - _FROM)

    bottom = _TOP + len(steps) * _STEP_ROW
    shapes = []
    for number in _plain_numbers(low, high):
        x = x_of(number)
        shapes.append(
            f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>'
        )
        shapes.append(_text(x, bottom + 16, f"{number:,g}", "value", "middle"))
    before = math.exp(low)
    for n, one in enumerate(steps):
        y = _TOP + n * _STEP_ROW
        name = textwrap.shorten(one.name, _NAME_LETTERS, placeholder=" …")
        left, right = sorted((x_of(before), x_of(one.cost)))
        seen = "gain" if one.cost < before else "loss"
        kind = "ours" if n == 0 else "peer" if one.words.startswith("no ") else seen
        shapes.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{max(right - left, 2):.1f}" '
            f'height="{_BAR}" rx="2"/>'
        )
        shapes.append(_text(_FROM - 10, y + 11, name, "name" if n == 0 else "value", "end"))
        words = f"{one.cost:,.0f} µs" + (f", {one.words}" if one.words else "")
        shapes.append(_text(_TO + 10, y + 11, words, "value", "start"))
        before = one.cost
    middle = (_FROM + _TO) / 2
    shapes.append(_text(middle, bottom + 36, "server CPU of a request, µs", "value", "middle"))
    return _document(title, bottom + 46, shapes, _WATERFALL_WIDTH)


def _plain_numbers(low: float, high: float) -> list[float]:
    powers = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
    numbers = [step * 10.0**power for power in powers for step in _NUMBERS]
    return [one for one in numbers if low <= math.log(one) <= high]


def _bar(y: int, share: float, is_ours: bool, label: str) -> Sequence[str]:
    width = max(1.0, share * (_WIDTH - _LEFT - _RIGHT))
    kind = "ours" if is_ours else "peer"
    return (
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>',
        _text(_LEFT + width + 6, y + _BAR - 2.5, label, "value", "start"),
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _document(title: str, height: int, shapes: Sequence[str], width: int = _WIDTH) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        *shapes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
