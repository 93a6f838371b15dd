"""Redis, the only door to it: what is lost when it is gone must only be slower or less exact."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from hlfast import urls
from hlfast.settings import Settings

T = TypeVar("T")
# What a question is put to.
Server = redis.Redis
logger = logging.getLogger(__name__)

# Written to see whether Redis takes it.
_PROBE, _PROBE_S = "hlfast:probe", 60
# Questions under way to Redis, each on a connection of its own; further ones wait for their turn.
_CONNECTIONS_MAX = 32


class Cache:
    """A Redis that may go away at any time.

    After a failure it is left alone for `redis_retry_s`, so that one that hangs costs one request
    a second and not each of them. Many questions at once are no failure: they wait for a
    connection, and that wait is not counted as Redis's.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.redis_timeout_s
        self._retry_s = settings.redis_retry_s
        self._away_until = 0.0
        self._turns = asyncio.Semaphore(_CONNECTIONS_MAX)
        urls.need("REDIS_URL", settings.redis_url, urls.REDIS)
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            decode_responses=True,
            # Never reached, or redis-py would raise what looks like an outage.
            max_connections=2 * _CONNECTIONS_MAX,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    async def ask(self, question: Callable[[Server], Awaitable[T]]) -> T | None:
        """The answer, or None when Redis does not give one now."""
        if self._is_away:
            return None
        async with self._turns:
            if self._is_away:  # as whoever was before this one has found out
                return None
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await question(self._redis)
            except (RedisError, OSError, TimeoutError) as error:
                self._away_until = time.monotonic() + self._retry_s
                logger.warning("Redis does not answer: %s", type(error).__name__)
                await self._leave(error)
                return None

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def ping(self) -> bool:
        """Whether Redis answers now and takes what is written, whatever happened before."""
        async with self._turns:
            try:
                async with asyncio.timeout(self._timeout_s):
                    # Not a ping, which a primary that was demoted answers, too.
                    await self._redis.set(_PROBE, "", ex=_PROBE_S)
            except (RedisError, OSError, TimeoutError) as error:
                await self._leave(error)
                return False
        return True

    async def _leave(self, error: Exception) -> None:
        """Keep no connection to a server that refuses: its address may lead to another one now."""
        if isinstance(error, ResponseError):
            with suppress(RedisError, OSError, TimeoutError):
                await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()
