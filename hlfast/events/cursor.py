"""The cursor that a client holds: a position among the events, as text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hlfast.events.log import Position

# Canonical numbers only, so that one position has one text.
_NUMBER = "(0|[1-9a-f][0-9a-f]{0,%d})"
_PATTERN = re.compile(rf"([A-Za-z0-9_-]{{1,32}})\.{_NUMBER % 23}\.{_NUMBER % 7}")


@dataclass(frozen=True, order=True, slots=True)
class Cursor:
    """An event's position: its batch's and its index there, from 0.

    Cursors of one epoch are ordered as the events are.
    """

    position: Position
    index: int

    def text(self) -> str:
        """Opaque to clients, at most 66 characters, none of which a URL needs to quote."""
        return f"{self.position.epoch}.{self.position.offset:x}.{self.index:x}"


def parse(text: str) -> Cursor | None:
    """The cursor of a text, None if it is no cursor's."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    epoch, offset, index = found.groups()
    return Cursor(Position(epoch, int(offset, 16)), int(index, 16))
