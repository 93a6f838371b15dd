"""Cursors: text and back, order, and whatever clients send instead."""

from __future__ import annotations

import re
import string

from hypothesis import example, given
from hypothesis import strategies as st

from hlfast.events.cursor import Cursor, parse
from hlfast.events.log import Position

epochs = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=32)
positions = st.builds(Position, epochs, st.integers(0, (1 << 96) - 1))
cursors = st.builds(Cursor, positions, st.integers(0, (1 << 32) - 1))


@given(cursors)
def test_a_cursor_is_its_text(cursor: Cursor) -> None:
    """Which is short and needs no quoting in a URL."""
    text = cursor.text()
    assert parse(text) == cursor
    assert re.fullmatch(r"[\w.-]{5,66}", text, re.ASCII)


@given(epochs, *[st.tuples(st.integers(0, (1 << 96) - 1), st.integers(0, 9))] * 2)
def test_cursors_of_an_epoch_are_ordered_as_the_events_are(
    epoch: str, one: tuple[int, int], other: tuple[int, int]
) -> None:
    """Cursors are ordered by entry, then by the index in it."""
    first, second = (Cursor(Position(epoch, offset), index) for offset, index in (one, other))
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(st.text() | st.from_regex(r"[\w-]+\.[0-9A-Fa-f]+\.[0-9A-Fa-f]+", fullmatch=True))
@example("")
@example("a.1.2\n")
@example("a.01.2")
@example("a.-1.2")
@example("a.١.2")
@example("a.1.2.3")
@example("a." + "f" * 25 + ".0")
def test_any_text_is_one_cursor_or_none(text: str) -> None:
    """No two texts are the same cursor."""
    cursor = parse(text)
    assert cursor is None or cursor.text() == text
