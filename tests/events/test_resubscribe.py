"""Whoever follows a log can stop, even when its connection does not close well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from hlfast.errors import Unavailable
from hlfast.events.resubscribe import resubscribing
from tests.events.brokers import in_a_loop, soon


async def attach(last: int | None) -> AsyncGenerator[int, None]:
    """One item, then none; what it comes over cannot be closed."""
    try:
        if last is None:
            yield 1
        await asyncio.Event().wait()
    finally:
        raise Unavailable("The connection does not close")


@pytest.mark.parametrize("where", ["waiting for an item", "with an item"])
@in_a_loop
async def test_a_cancelled_follower_ends(where: str) -> None:
    has_item = asyncio.Event()

    async def follow() -> None:
        async with aclosing(resubscribing(attach, 0.01)) as items:
            async for _ in items:
                has_item.set()
                if where == "with an item":
                    await asyncio.Event().wait()

    following = asyncio.create_task(follow())
    await soon(has_item.wait())
    await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(following)
