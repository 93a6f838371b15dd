"""A flame graph as SVG: the outermost calls on top, as wide as the share of time below them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

_WIDTH, _ROW, _LETTER = 1000, 17, 6.4
# Narrower than this, in units of the width, a call is not drawn.
_NARROWEST = 3.0
# A call that has nearly all of what is around it says nothing: the graph begins below it.
_WHOLE = 0.985
_FRAME = re.compile(r"(?P<name>.*?)(?: \((?P<file>[^()]*)\))?")
# Whose code it is, by the first part of the file's path.
_OWNERS = {
    "the service": {"bench", "hlfast", "hl_utils"},
    "framework": {"fastapi", "starlette", "pydantic", "anyio", "litestar"},
    "database": {"sqlalchemy", "asyncpg", "aiomysql", "redis", "sqlite3"},
    "server and loop": {"uvicorn", "granian", "h11", "httptools", "uvloop", "asyncio", "gunicorn"},
}
OTHERS = "others"
COLOURS = {
    "the service": "#2a7f62",
    "framework": "#c0562f",
    "database": "#3b6ea5",
    "server and loop": "#8a6d00",
    OTHERS: "#7a7f87",
}


@dataclass(slots=True)
class Call:
    """A function as it was called there: how often it was seen, and what it called."""

    name: str
    owner: str
    count: int = 0
    calls: dict[str, Call] = field(default_factory=dict)

    @property
    def own(self) -> int:
        """How often it was seen at work itself."""
        return self.count - sum(one.count for one in self.calls.values())


def tree(stacks: Mapping[str, int]) -> Call:
    """The tree of all stacks, without the calls that surround everything."""
    root = Call("", OTHERS)
    for stack, count in stacks.items():
        at = root
        at.count += count
        for frame in stack.split(";"):
            at = at.calls.setdefault(frame, _call(frame))
            at.count += count
    while len(root.calls) > 0:
        most = max(root.calls.values(), key=lambda one: one.count)
        if most.count < root.count * _WHOLE or not most.calls:
            break
        root = most
    return root


def shares(root: Call) -> dict[str, float]:
    """The shares of time, 0..1, by whose code was at work, the most first."""
    found = dict.fromkeys(COLOURS, 0)
    waiting = [*root.calls.values()]
    while waiting:
        one = waiting.pop()
        found[one.owner] += one.own
        waiting += one.calls.values()
    total = sum(found.values()) or 1
    return {owner: count / total for owner, count in sorted(found.items(), key=lambda one: -one[1])}


def svg(root: Call, label: str) -> str:
    """The graph as SVG. `label` says what it shows to whoever can't see it."""
    rows: list[str] = []
    total = root.count or 1
    depth = 0
    waiting = [(root, 0.0, -1)]
    while waiting:
        call, left, row = waiting.pop()
        if row >= 0:
            rows.append(_rectangle(call, left, row, call.count / total))
            depth = max(depth, row)
        for one in call.calls.values():
            if one.count / total * _WIDTH >= _NARROWEST:
                waiting.append((one, left, row + 1))
            left += one.count / total * _WIDTH
    height = (depth + 1) * _ROW
    return (
        f'<svg class="flame" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(rows)}</svg>'
    )


def _call(frame: str) -> Call:
    found = _FRAME.fullmatch(frame)
    name, file = (found["name"], found["file"] or "") if found else (frame, "")
    first = file.partition("/")[0].removesuffix(".py")
    owner = next((one for one, packages in _OWNERS.items() if first in packages), OTHERS)
    return Call(f"{name} ({file})" if file else name, owner)


def _rectangle(call: Call, left: float, row: int, share: float) -> str:
    width = share * _WIDTH
    room = int((width - 6) / _LETTER)
    name = call.name.partition(" (")[0]
    text = ""
    if room >= 3:
        short = name if len(name) <= room else f"{name[: room - 1]}…"
        text = f'<text x="{left + 3:.1f}" y="{row * _ROW + 12}">{escape(short)}</text>'
    return (
        f'<g><title>{escape(call.name)}: {share:.1%}</title><rect x="{left:.1f}" y="{row * _ROW}" '
        f'width="{max(width - 0.6, 0.4):.1f}" height="{_ROW - 1}" '
        f'fill="{COLOURS[call.owner]}"/>{text}</g>'
    )
