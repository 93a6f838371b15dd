"""Lines over a rate, as SVG: plain numbers on the axes, names on the lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.lab.report.scale import Scale

Line = Sequence[tuple[float, float]]
_STYLE = Path(__file__).with_name("page.css")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 360, 56, 96, 30, 46
_STEPS = (1, 2, 2.5, 5)
# Names at the ends of lines are so far apart at least.
_LETTER = 15.0


def page(title: str, panels: Mapping[str, Mapping[str, Line]], below: str, words: str) -> str:
    """A page of its own, with the table as text under its panels."""
    drawn = "".join(
        f"<h2>{escape(name)}</h2>{panel(found, below)}" for name, found in panels.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><h1>{escape(title)}</h1>{drawn}<details><summary>Figures</summary>"
        f"<pre>{escape(words)}</pre></details></body></html>\n"
    )


def panel(found: Mapping[str, Line], below: str) -> str:
    """One plot: the value's axis in logarithms, as one line's may be ten times another's."""
    values = [value for line in found.values() for _, value in line if value > 0]
    most = max(rate for line in found.values() for rate, _ in line)
    scale = Scale.of_costs(values)
    parts = [*_frame(scale, most, below)]
    ends: list[tuple[float, str, str]] = []
    for (name, line), colour in zip(found.items(), _COLOURS, strict=False):
        spots = [(_x(rate, most), _y(scale, value)) for rate, value in line if value > 0]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in spots]
        ends.append((spots[-1][1], name, colour))
    xs = {name: _x(line[-1][0], most) for name, line in found.items()}
    named: list[tuple[float, float]] = []
    for y, name, colour in sorted(ends):
        below_others = [other + _LETTER for x, other in named if abs(x - xs[name]) < _RIGHT]
        at = max([y, *below_others])
        named.append((xs[name], at))
        parts.append(
            f'<text x="{xs[name] + 8:.1f}" y="{at + 4:.1f}" style="fill:{colour}">'
            f"{escape(name)}</text>"
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" '
        f'style="max-width:{_WIDTH}px">{"".join(parts)}</svg>'
    )


def alone(title: str, found: Mapping[str, Line], below: str) -> str:
    """A plot as a file of its own, in colours that can be read by day and by night."""
    drawn = panel(found, below)
    style = (
        f"<title>{escape(title)}</title><style>\n"
        "svg { --ink: #24292f; --soft: #57606a; --line: #d0d7de }\n"
        "text { font: 13px system-ui, sans-serif; fill: var(--ink) }\n"
        "@media (prefers-color-scheme: dark) {\n"
        "  svg { --ink: #e6edf3; --soft: #9da7b0; --line: #3d444d }\n}\n</style>"
    )
    whole = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    start = whole.index(">") + 1
    heading = f'<text x="{_LEFT}" y="16">{escape(title)}</text>'
    return f"{whole[:start]}{style}{heading}{whole[start:]}\n"


def _x(rate: float, most: float) -> float:
    return _LEFT + rate / most * (_WIDTH - _LEFT - _RIGHT)


def _y(scale: Scale, value: float) -> float:
    return _HEIGHT - _BOTTOM - scale.place(math.log(value)) / 100 * (_HEIGHT - _TOP - _BOTTOM)


def _frame(scale: Scale, most: float, below: str) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for place, text in scale.ticks:
        y = bottom - place / 100 * (bottom - _TOP)
        parts.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    step = _step(most)
    for n in range(int(most / step) + 1):
        x = _x(n * step, most)
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{n * step:,.0f}</text>'
        )
    parts.append(
        f'<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="var(--soft)"/>'
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(below)}'
        "</text>"
    )
    return parts


def _step(most: float) -> float:
    """Between two numbers on the rate's axis: four or five of them."""
    power = 10 ** math.floor(math.log10(most / 4))
    return max(step * power for step in _STEPS if step * power <= most / 4)
