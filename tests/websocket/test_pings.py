"""Every peer is looked at in turn, for as long as it is open."""

from __future__ import annotations

import asyncio

from hlfast.websocket.limits import Limits
from hlfast.websocket.pings import Pings

DEADLINE_S = 30.0


class Looked:
    """As much of a connection as Pings sees, open for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.asked: list[tuple[int, int]] = []
        self.is_closed = asyncio.Event()

    def look(self, ping_at: int, end_at: int) -> bool:
        self.asked.append((ping_at, end_at))
        if len(self.asked) == self.looks:
            self.is_closed.set()
        return len(self.asked) < self.looks


async def looked(pings: Pings, *peers: Looked) -> None:
    """Until each is closed, and some time beyond."""
    for peer in peers:
        pings.add(peer)
    last = Looked(4)
    async with asyncio.timeout(DEADLINE_S):
        for peer in peers:
            await peer.is_closed.wait()
        pings.add(last)
        await last.is_closed.wait()
    assert [len(peer.asked) for peer in peers] == [peer.looks for peer in peers]


def test_closed_peers_are_looked_at_no_more_and_new_ones_are() -> None:
    async def run() -> None:
        pings = Pings(Limits(ping_idle_s=0.01, ping_reply_s=0.01))
        for _ in range(2):
            # With nobody left the timer ends; it begins anew.
            await looked(pings, Looked(1), Looked(2), Looked(5))

    asyncio.run(run())


def test_the_time_for_an_answer_is_its_own() -> None:
    """A ping after the fifth look of a fourth of the time, the end when the reply is overdue."""

    async def asked(reply_s: float) -> tuple[int, int]:
        peer = Looked(1)
        Pings(Limits(ping_idle_s=0.04, ping_reply_s=reply_s)).add(peer)
        async with asyncio.timeout(DEADLINE_S):
            await peer.is_closed.wait()
        return peer.asked[0]

    assert asyncio.run(asked(0.04)) == (5, 10)
    assert asyncio.run(asked(0.02)) == (5, 8)


def test_nobody_is_pinged_where_there_are_no_pings() -> None:
    async def run() -> list[tuple[int, int]]:
        peer, other = Looked(1), Looked(4)
        Pings(Limits(ping_idle_s=None)).add(peer)
        await looked(Pings(Limits(ping_idle_s=0.01, ping_reply_s=0.01)), other)
        return peer.asked

    assert asyncio.run(run()) == []
