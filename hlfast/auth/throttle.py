"""A bound on failed attempts: of passwords above all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hlfast.bounded import Bounded
from hlfast.cache import Cache, Server
from hlfast.errors import Forbidden, TooMany, Unauthenticated
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# Keys whose failures this process knows.
_KEYS_MAX = 10_000
# Attempts of one key that wait for those under way to end.
_ATTEMPTS_WAITING_MAX = 64
_TOO_MANY = "Too many failed attempts."
# One more failure, unless there are ARGV[1]. How many there are, and the seconds until a refused
# one may try again, or 0.
_RESERVE = """
local failures = tonumber(redis.call('get', KEYS[1]) or '0')
if failures >= tonumber(ARGV[1]) then
    return {failures, math.max(redis.call('ttl', KEYS[1]), 1)}
end
if redis.call('incr', KEYS[1]) == 1 then
    redis.call('expire', KEYS[1], ARGV[2])
end
return {failures + 1, 0}
"""
# One less, if they have not been forgotten meanwhile.
_GIVE_BACK = """
if redis.call('exists', KEYS[1]) == 1 and redis.call('decr', KEYS[1]) <= 0 then
    redis.call('del', KEYS[1])
end
return 0
"""


@dataclass(slots=True)
class _Failures:
    """What this process knows of one key until `ends`, by the monotonic clock."""

    ends: float
    # How many Redis had when it last answered, and those that it did not take.
    in_redis: int = 0
    here: int = 0

    @property
    def wait_s(self) -> int:
        """Seconds until they are forgotten."""
        return int(self.ends - time.monotonic()) + 1


@dataclass(slots=True)
class _Burst:
    """Attempts of one key in this process that are under way or about to be, and those that wait.

    Nobody waits unless somebody is inside.
    """

    inside: int = 0
    # How many have not ended as failures: what was counted before one of them is no longer so.
    uncounted: int = 0
    # Each results in whether to ask again.
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)


class FailureThrottle:
    """Counts failures by key within a window: in Redis for all processes, here while it is away.

    Both counts together are bounded, so that a Redis that comes and goes gives no further guesses.
    An attempt is counted before it is made, so that a burst of them gets no more than a sequence.
    `name` keeps the keys of two throttles apart. A key ends in `@` and an address.
    """

    def __init__(self, cache: Cache, settings: Settings, name: str) -> None:
        self._cache = cache
        self._name = name
        self._prefix = f"hlfast:{name}:"
        self._failures_max = settings.login_failures_max
        self._window_s = settings.login_window_s
        self._failures: Bounded[str, _Failures] = Bounded(_KEYS_MAX)
        # Until when no further refusal of a key is logged, by the monotonic clock.
        self._quiet_until: Bounded[str, float] = Bounded(_KEYS_MAX)
        self._bursts: dict[str, _Burst] = {}

    @asynccontextmanager
    async def attempt(self, key: str) -> AsyncIterator[None]:
        """One guess: a failure if it raises errors.Unauthenticated or Forbidden.

        Where it ends well the key's failures are forgotten; with any other error it is as if it
        had not been. Raises errors.TooMany.
        """
        burst = self._bursts.setdefault(key, _Burst())
        burst.inside += 1
        # How many of those who wait may ask again.
        admitted = 0
        try:
            await self._reserve_in_turn(key, burst)
            try:
                yield
            except (Unauthenticated, Forbidden):
                raise
            except BaseException:
                admitted = 1
                await self._give_back(key)
                raise
            admitted = self._failures_max
            await self._forget(key)
        finally:
            self._leave(key, burst, admitted)

    async def _reserve_in_turn(self, key: str, burst: _Burst) -> None:
        """Reserve an attempt.

        Attempts under way may end well: a refusal waits for them. Raises errors.TooMany.
        """
        while True:
            before = burst.uncounted
            wait_s = await self._reserve(key)
            if not wait_s:
                return
            if burst.uncounted != before:
                # The answer was made before that.
                continue
            self._log(key, wait_s)
            if burst.inside == 1 or len(burst.waiting) >= _ATTEMPTS_WAITING_MAX:
                raise TooMany(_TOO_MANY, wait_s if burst.inside == 1 else 1)
            turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            burst.waiting.append(turn)
            burst.inside -= 1
            try:
                may_ask = await turn
            except BaseException:
                if turn in burst.waiting:
                    burst.waiting.remove(turn)
                if turn.cancelled() or not turn.result():
                    burst.inside += 1  # for `_leave`
                raise
            if not may_ask:
                burst.inside += 1
                raise TooMany(_TOO_MANY, wait_s)

    def _log(self, key: str, wait_s: int) -> None:
        """A line for the operator, once. Not the name: some people type their password there."""
        now = time.monotonic()
        if (self._quiet_until.get(key) or 0.0) <= now:
            self._quiet_until.put(key, now + wait_s)
            _, _, address = key.rpartition("@")
            logger.warning(
                "Refused for %d s after %d %s of one name from %s",
                wait_s,
                self._failures_max,
                self._name.replace("-", " "),
                address or "an unknown address",
            )

    def _leave(self, key: str, burst: _Burst, admitted: int) -> None:
        burst.inside -= 1
        burst.uncounted += bool(admitted)
        while burst.waiting and (admitted or not burst.inside):
            turn = burst.waiting.popleft()
            if not turn.done():
                turn.set_result(admitted > 0)
                if admitted:
                    admitted -= 1
                    burst.inside += 1
        if not burst.inside and self._bursts.get(key) is burst:
            del self._bursts[key]

    async def _reserve(self, key: str) -> int:
        """Count one; 0, or the seconds until the key may try again."""
        failures = self._failures.get(key)
        if failures is None or failures.ends <= time.monotonic():
            failures = _Failures(time.monotonic() + self._window_s)
            self._failures.put(key, failures)
        if failures.here >= self._failures_max:
            return failures.wait_s
        answer: tuple[int, int] | None = await self._run(
            _RESERVE, key, self._failures_max - failures.here, self._window_s
        )
        if answer is not None:
            failures.in_redis, wait_s = answer
            return wait_s
        if failures.in_redis + failures.here >= self._failures_max:
            return failures.wait_s
        failures.here += 1
        return 0

    async def _give_back(self, key: str) -> None:
        failures = self._failures.get(key)
        if failures is not None and failures.here:
            failures.here -= 1
            return
        if failures is not None and failures.in_redis:
            failures.in_redis -= 1
        await self._run(_GIVE_BACK, key)

    async def _forget(self, key: str) -> None:
        self._failures.pop(key)
        await self._cache.ask(lambda server: server.delete(self._prefix + key))

    async def _run(self, script: str, key: str, *args: int) -> Any:
        """What a script returns for a key; None while Redis is away."""

        def run(server: Server) -> Any:
            return server.eval(script, 1, self._prefix + key, *map(str, args))

        return await self._cache.ask(run)
