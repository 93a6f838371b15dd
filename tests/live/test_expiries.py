"""Sessions are told when their token expires, and only those that still wait for it."""

from __future__ import annotations

import asyncio
import time

from hlfast.live.expiries import Expiries

DEADLINE_S = 30.0


class Told:
    """As much of a session as Expiries sees."""

    def __init__(self) -> None:
        self.at = 0.0
        self.is_told = asyncio.Event()

    def expire(self) -> None:
        self.at = time.time()
        self.is_told.set()


def test_each_is_told_in_its_time() -> None:
    async def run() -> None:
        expiries, now = Expiries(), time.time()
        past, soon, gone, renewed = Told(), Told(), Told(), Told()
        expiries.add(past, now - 60)
        expiries.add(soon, now + 0.5)
        expiries.add(gone, now + 0.5)
        expiries.discard(gone, now + 0.5)
        expiries.add(renewed, now + 0.5)
        expiries.discard(renewed, now + 0.5)
        expiries.add(renewed, now + 3600)
        # Of those that are there no more nobody minds.
        expiries.discard(gone, now + 0.5)
        async with asyncio.timeout(DEADLINE_S):
            await past.is_told.wait()
            await soon.is_told.wait()
        assert soon.at >= now + 0.5
        last = Told()
        expiries.add(last, time.time())
        async with asyncio.timeout(DEADLINE_S):
            await last.is_told.wait()
        assert not gone.at and not renewed.at

    asyncio.run(run())
