"""Events of one entry of the log are one write to each socket, unless that is switched off."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from hlfast import codec, frames
from hlfast.events.log import Entry, Position
from hlfast.live.fan_out import FanOut
from hlfast.live.history import History
from hlfast.live.metrics import Counts
from hlfast.live.subscriptions import Subscriptions
from hlfast.websocket.limits import Limits
from hlfast.websocket.write_queue import WriteQueue

AUTHOR, EVENTS = 1, 12
# As many frames as are queued before others have their turn: each event alone ends it.
SOCKETS = 1000


class Recorded:
    """A socket of the queue that counts: frames of each write."""

    after_seq = 0
    after_move = 0

    def __init__(self, writes: WriteQueue) -> None:
        self._writes = writes
        self._queued = 0
        self.written: list[int] = []

    def queue(self, frames: bytes, count: int = 1) -> None:
        """Queue so many frames."""
        assert frames
        if not self._queued:
            self._writes.add(self)
        self._queued += count

    def flush(self) -> None:
        """Write what is queued."""
        self.written.append(self._queued)
        self._queued = 0


def posts() -> Entry:
    """Posts of one author that were deleted in the same loop turn."""
    events = [
        {"id": f"o{one}", "type": "post.deleted", "author": AUTHOR, "data": {"post_id": one}}
        for one in range(1, EVENTS + 1)
    ]
    return Entry(Position("epoch", 1), codec.encode({"since": 0.0, "events": events}))


async def written(*, joins_events: bool) -> Counter[tuple[int, ...]]:
    """How many sockets had writes of so many frames."""
    # Neither is anything written in slices, nor longer held back than the entry takes.
    writes = WriteQueue(Limits(slice_s=60.0, hold_max_s=60.0))
    subscriptions = Subscriptions()
    sockets = [Recorded(writes) for _ in range(SOCKETS)]
    for number, socket in enumerate(sockets):
        subscriptions.add(number + 100, [(AUTHOR, 1)]).sockets.append(socket)
    history = History(events_max=1000, bytes_max=1 << 20, age_max_s=60.0)
    fan_out = FanOut(
        writes,
        history,
        subscriptions,
        frames,
        Counts(),
        lambda _: None,
        joins_events=joins_events,
    )
    await fan_out.take(posts())
    async with asyncio.timeout(30):
        while any(sum(socket.written) < EVENTS for socket in sockets):
            await asyncio.sleep(0)
    return Counter(tuple(socket.written) for socket in sockets)


@pytest.mark.parametrize(
    ("joins_events", "of_each"), [(True, (EVENTS,)), (False, (1,) * EVENTS)], ids=["on", "off"]
)
def test_events_of_one_entry(joins_events: bool, of_each: tuple[int, ...]) -> None:
    assert asyncio.run(written(joins_events=joins_events)) == {of_each: SOCKETS}
