"""The ledger itself: what a client missed, saw twice or saw in disorder is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.crowd import Person
from bench.ledger.frames import Frame
from bench.ledger.ledger import Entry, Ledger, Stream
from bench.ledger.reader import Balance, Reader, balance

AUTHOR, ME = 1, 2
STREAM = Stream("post", AUTHOR)


def post(number: int) -> dict[str, Any]:
    return {"id": number, "author_id": AUTHOR, "content": f"Post {number}"}


def frame(number: int, event_id: str = "") -> Frame:
    event_id = event_id or f"o{number}"
    return {"type": "post.created", "event_id": event_id, "cursor": "", "post": post(number)}


def found_in(frames: Sequence[Frame], reloaded: Sequence[int] = ()) -> Balance:
    """Posts 1, 2 and 3 were acknowledged, and a friend got these frames."""
    facts = {number: Entry(0.0, 0.0, post(number)) for number in (1, 2, 3)}
    ledger = Ledger([], streams={STREAM: facts}, audiences={STREAM: frozenset([ME])}, count=3)
    reader = Reader(ledger, [], Person(ME, "", "", ""))
    for one in frames:
        reader.take(one)
    reader.reloaded[STREAM] = set(reloaded)
    return balance(ledger, [reader])


def test_everything_once_and_in_order_is_right() -> None:
    found = found_in([frame(1), frame(2), frame(3)])
    assert found.is_right
    assert (found.expected, found.received, found.repeats) == (3, 3, 0)


def test_a_repeat_is_dropped_by_its_id() -> None:
    found = found_in([frame(1), frame(2), frame(1) | {"cursor": "later"}, frame(3)])
    assert found.is_right
    assert (found.received, found.repeats) == (3, 1)


def test_what_was_reloaded_is_not_missing_and_not_received() -> None:
    found = found_in([frame(1), frame(3)], reloaded=[2])
    assert found.is_right
    assert (found.received, found.reloaded) == (2, 1)


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ([frame(1), frame(3)], "missing"),
        ([], "missing"),
        ([frame(1), frame(3), frame(2)], "out_of_order"),
        ([frame(1), frame(2), frame(3), frame(2, "o9")], "wrong"),
        ([frame(1), frame(2), frame(3), frame(4)], "wrong"),
        ([frame(1), frame(2), frame(3) | {"post": post(3) | {"content": "?"}}], "wrong"),
        ([frame(1), frame(2), frame(3), frame(2) | {"post": post(1)}], "wrong"),
    ],
    ids=["missing", "nothing", "disorder", "two ids", "never said", "other text", "other repeat"],
)
def test_what_is_not_right_is_found(frames: list[Frame], fault: str) -> None:
    found = found_in(frames)
    assert not found.is_right
    assert getattr(found, fault)
