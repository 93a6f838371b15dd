"""A session expires with its token, unless it was discarded before."""

from __future__ import annotations

import asyncio
import time

from hlfast.live.expiries import Expiries

DEADLINE_S = 30.0


class Expiring:
    """As much of a session as Expiries sees."""

    def __init__(self) -> None:
        self.at = 0.0
        self.has_expired = asyncio.Event()

    def expire(self) -> None:
        self.at = time.time()
        self.has_expired.set()


def test_each_has_expired_in_its_time() -> None:
    async def run() -> None:
        expiries, now = Expiries(), time.time()
        past, soon, gone, renewed = Expiring(), Expiring(), Expiring(), Expiring()
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
            await past.has_expired.wait()
            await soon.has_expired.wait()
        assert soon.at >= now + 0.5
        last = Expiring()
        expiries.add(last, time.time())
        async with asyncio.timeout(DEADLINE_S):
            await last.has_expired.wait()
        assert not gone.at and not renewed.at

    asyncio.run(run())
