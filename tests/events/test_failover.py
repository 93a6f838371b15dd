"""The log's address leads to another server, while old connections live on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis.asyncio

from hl_utils.servers import families
from hl_utils.servers.redis import LogRedisServer, RedisServer
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, Reset
from hlfast.events.open import open_log
from hlfast.events.publisher import Publisher
from hlfast.settings import Settings
from tests.events.brokers import in_a_loop, soon, until_available


class Address:
    """A name that leads new connections to one server, and later to another."""

    def __init__(self, path: Path, leads_to: RedisServer) -> None:
        self.url = f"unix://{path}"
        self.leads_to = leads_to
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Address]:
        server = await asyncio.start_unix_server(self._forward, self._path)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self.leads_to.address)
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._copy(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()


async def demote(server: RedisServer) -> None:
    """It answers, and takes nothing: its primary is one that nobody reaches."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.replicaof("127.0.0.1", "1")


async def promote(server: RedisServer) -> None:
    """It takes what is written again."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.replicaof("NO", "ONE")


@pytest.mark.parametrize("failure", ["demoted", "hung"])
@in_a_loop
async def test_everybody_comes_to_the_new_primary(
    failure: str,
    log_redis_server: LogRedisServer,
    redis_server: RedisServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who publishes, follows, listens and broadcasts; the old one's connections are whole."""
    old, new = log_redis_server, redis_server
    name = f"failover-{failure}"

    def settings(url: str) -> Settings:
        return Settings(events_url=url, events_name=name, events_retry_s=0.1, events_timeout_s=1.0)

    async with Address(tmp_path / "redis", old).opened() as address:
        log, beside = open_log(settings(address.url)), open_log(settings(new.url))
        publisher = Publisher(log, settings(address.url))
        async with (
            aclosing(log.follow(None)) as following,
            aclosing(log.listen()) as listening,
            aclosing(beside.listen()) as listening_beside,
        ):
            await soon(anext(following))
            await soon(publisher.submit({"id": "before"}))
            assert isinstance(await soon(anext(following)), Entry)
            assert await publisher.takes_events()
            heard = asyncio.ensure_future(anext(listening))
            while not heard.done():
                log.broadcast(b"before")
                await asyncio.wait([heard], timeout=0.05)
            try:
                if failure == "demoted":
                    await demote(old)
                else:
                    await asyncio.to_thread(families.freeze, old.process)
                with pytest.raises(Unavailable):
                    await soon(publisher.submit({"id": "refused"}))
                assert publisher.trouble
                assert not await publisher.takes_events()
                address.leads_to = new
                await until_available(lambda: publisher.submit({"id": "after"}))
                assert await publisher.takes_events()
                while not isinstance(await soon(anext(following)), Reset):
                    pass
                await soon(publisher.submit({"id": "afterwards"}))
                while b"afterwards" not in (await soon(anext(following))).batch:
                    pass
                # Each hears the other.
                for speaker, listener in ((beside, listening), (log, listening_beside)):
                    told = b"from %x" % id(speaker)
                    hearing = asyncio.ensure_future(_hear(listener, told))
                    async with asyncio.timeout(60):
                        while not hearing.done():
                            speaker.broadcast(told)
                            await asyncio.wait([hearing], timeout=0.05)
            finally:
                old.process.send_signal(signal.SIGCONT)
                await promote(old)
        await publisher.close()
        await log.close()
        await beside.close()
    said = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    [line] = [one for one in said if one.startswith("The event log takes no events")]
    assert ("ReadOnlyError" in line) == (failure == "demoted")


async def _hear(listening: AsyncIterator[bytes], word: bytes) -> None:
    while await anext(listening) != word:
        pass
