"""A chart of requests per second, as SVG that reads well by day, by night and in print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _LEFT, _RIGHT = 760, 130, 130
_BAR, _GAP, _GROUP_GAP, _TOP = 13, 3, 16, 14
_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.name { font-weight: 600 }
.ours { fill: #0969da } .peer { fill: #b4bcc4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ours { fill: #4493f8 } .peer { fill: #57606a }
}"""


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


def _document(title: str, height: int, shapes: Sequence[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        *shapes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
