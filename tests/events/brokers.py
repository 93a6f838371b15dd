"""Both kinds of server behind the event log, and what the tests do with either."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import aio_pika
import redis
import redis.asyncio

from hl_utils.servers.process import START_S
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, EventLog, Position, Reset
from hlfast.events.open import open_log
from hlfast.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
_numbers = itertools.count(1)


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine function, run in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class LogRedisServer(RedisServer):
    """Redis as the event log needs it."""

    def start(self) -> None:
        super().start()
        with redis.Redis.from_url(self.url) as client:
            client.config_set("appendfsync", "always")


class Broker:
    """A server and a log on it that no other test uses."""

    def __init__(self, server: LogRedisServer | RabbitServer) -> None:
        self.server = server
        self.name = f"test{next(_numbers)}"

    def settings(self, **others: Any) -> Settings:
        """Settings that mean this log."""
        values = {"events_retry_s": 0.1, "events_timeout_s": 15.0, **others}
        return Settings(events_url=self.server.url, events_name=self.name, **values)

    @asynccontextmanager
    async def opened(self, **settings: Any) -> AsyncIterator[EventLog]:
        """The log, closed at the end."""
        log = open_log(self.settings(**settings))
        try:
            yield log
        finally:
            await log.close()

    async def lose(self) -> None:
        """Delete the log as an operator would who did not know what it is for."""
        raise NotImplementedError


class RedisBroker(Broker):
    """Redis: everything on the server goes."""

    async def lose(self) -> None:
        async with redis.asyncio.Redis.from_url(self.server.url) as client:
            await client.flushall()


class RabbitBroker(Broker):
    """RabbitMQ: the stream goes."""

    async def lose(self) -> None:
        async with await aio_pika.connect(self.server.url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(f"{self.name}.events")


async def soon(waited_for: Awaitable[T]) -> T:
    """What must come, whenever that may be; raises TimeoutError when it hardly can any more."""
    async with asyncio.timeout(START_S):
        return await waited_for


async def until_available(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, asked for again while there is none."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.01)


async def entries(following: AsyncGenerator[Entry | Reset, None], count: int) -> list[Entry]:
    """The next so many, none of which may be a Reset."""
    found = [await soon(anext(following)) for _ in range(count)]
    kept = [item for item in found if isinstance(item, Entry)]
    assert len(kept) == count, found
    return kept


async def batches(log: EventLog, after: Position, count: int) -> list[bytes]:
    """The first so many after a position."""
    async with aclosing(log.follow(after)) as following:
        return [entry.batch for entry in await entries(following, count)]


async def first_item(log: EventLog, after: Position | None) -> Entry | Reset:
    """What a follower sees first."""
    async with aclosing(log.follow(after)) as following:
        return await soon(anext(following))
