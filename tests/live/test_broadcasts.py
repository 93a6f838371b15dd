"""Friends are sent who came and who went, but for what their hello has already."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from hl_utils.servers.redis import RedisServer
from hlfast import codec, frames
from hlfast.events.open import open_log
from hlfast.live.broadcasts import Broadcasts
from hlfast.live.subscriptions import Subscriptions
from hlfast.settings import Settings
from hlfast.websocket.limits import Limits
from hlfast.websocket.wire import payload_of
from hlfast.websocket.write_queue import WriteQueue
from tests.events.brokers import in_a_loop

pytestmark = pytest.mark.one_database
DEADLINE_S = 30.0
ME, FRIEND = 1, 2


class Socket:
    """As much of a connection as a delivery needs."""

    def __init__(self, after_move: int) -> None:
        self.after_seq = 0
        self.after_move = after_move
        self.frames: list[dict[str, Any]] = []
        self.came = asyncio.Event()

    def queue(self, frames: bytes, count: int = 1) -> None:
        assert count == 1
        self.frames.append(codec.decode(payload_of(frames)))
        self.came.set()

    async def next(self) -> None:
        """Wait for a frame."""
        async with asyncio.timeout(DEADLINE_S):
            await self.came.wait()
        self.came.clear()


@in_a_loop
async def test_a_socket_is_not_told_what_its_hello_has(redis_server: RedisServer) -> None:
    settings = Settings(
        redis_url=redis_server.url,
        events_name="test-broadcasts",
        presence_grace_s=0,
        presence_join_s=0.01,
    )
    log, subscriptions = open_log(settings), Subscriptions()
    writes = WriteQueue(Limits())
    broadcasts = Broadcasts("node", settings, log, subscriptions, frames, writes)
    me = subscriptions.add(ME, [(FRIEND, 1)])
    before = Socket(broadcasts.moves)
    broadcasts.presence.arrived(FRIEND)
    after = Socket(broadcasts.moves)
    me.sockets += [before, after]
    running = asyncio.create_task(broadcasts.run())
    await before.next()
    assert not after.frames
    broadcasts.presence.departed(FRIEND)
    await before.next()
    await after.next()
    online, offline = ({"type": "presence", "user_id": FRIEND, "online": x} for x in (True, False))
    assert (before.frames, after.frames) == ([online, offline], [offline])
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await log.close()
