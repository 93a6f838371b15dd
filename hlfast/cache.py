"""Redis, the only door to it: what is lost when it is gone must only be slower or less exact."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hlfast import urls
from hlfast.settings import Settings

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Counters kept in this process while Redis is away.
_LOCAL_COUNTERS_MAX = 10_000


class Cache:
    """A Redis that may go away at any time.

    After a failure it is left alone for `redis_retry_s`, so that one that hangs costs one request
    a second and not each of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.redis_timeout_s
        self._retry_s = settings.redis_retry_s
        self._away_until = 0.0
        urls.need("REDIS_URL", settings.redis_url, urls.REDIS)
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            decode_responses=True,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    async def ask(self, question: Callable[[redis.Redis], Awaitable[T]]) -> T | None:
        """The answer, or None when Redis does not give one now."""
        if time.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await question(self._redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + self._retry_s
            logger.warning("Redis does not answer: %s", type(error).__name__)
            return None
        return answer

    async def ping(self) -> bool:
        """Whether Redis answers now, whatever happened before."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class FailureThrottle:
    """Counts failures by key within a window: in Redis for all processes, here while it is away."""

    def __init__(self, cache: Cache, *, failures_max: int, window_s: int) -> None:
        self._cache = cache
        self._failures_max = failures_max
        self._window_s = window_s
        self._local: dict[str, tuple[int, float]] = {}

    async def blocked_s(self, key: str) -> int:
        """Seconds until the key may try again; 0 when it may now."""
        name = self._name(key)

        async def ask(server: redis.Redis) -> tuple[int, int]:
            async with server.pipeline(transaction=False) as pipe:
                pipe.get(name)
                pipe.ttl(name)
                count, ttl_s = await pipe.execute()
            return int(count or 0), max(int(ttl_s), 1)

        local_count, ends = self._local.get(key, (0, 0.0))
        now = time.monotonic()
        if local_count >= self._failures_max and ends > now:
            return int(ends - now) + 1
        answer = await self._cache.ask(ask)
        if answer is not None and answer[0] >= self._failures_max:
            return answer[1]
        return 0

    async def failed(self, key: str) -> None:
        """Count one failure."""
        name = self._name(key)

        async def count(server: redis.Redis) -> int:
            async with server.pipeline(transaction=True) as pipe:
                pipe.set(name, 0, ex=self._window_s, nx=True)
                pipe.incr(name)
                return int((await pipe.execute())[1])

        if await self._cache.ask(count) is None:
            self._failed_here(key)

    async def succeeded(self, key: str) -> None:
        """Forget the key's failures."""
        self._local.pop(key, None)
        await self._cache.ask(lambda server: server.delete(self._name(key)))

    def _failed_here(self, key: str) -> None:
        now = time.monotonic()
        count, ends = self._local.pop(key, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + self._window_s
        while len(self._local) >= _LOCAL_COUNTERS_MAX:
            del self._local[next(iter(self._local))]
        self._local[key] = (count + 1, ends)

    @staticmethod
    def _name(key: str) -> str:
        return f"hlfast:failures:{key}"
