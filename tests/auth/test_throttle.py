"""Attempts are counted before they are made, and a full pool is no outage of Redis."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from hl_utils.servers.process import free_port
from hl_utils.servers.redis import RedisServer
from hlfast.auth.throttle import FailureThrottle
from hlfast.cache import Cache, Server
from hlfast.errors import Forbidden, TooMany, Unauthenticated, Unavailable
from hlfast.settings import Settings

T = TypeVar("T")
FAILURES_MAX = 5
AT_ONCE = 400


def with_throttle(
    url: str,
    use: Callable[[FailureThrottle, Cache], Awaitable[Any]],
    kind: type[Cache] = Cache,
) -> Any:
    """A throttle of its own, opened and closed."""

    async def run() -> Any:
        settings = Settings(
            redis_url=url,
            redis_timeout_s=20,
            redis_retry_s=600,
            login_failures_max=FAILURES_MAX,
            login_window_s=300,
        )
        cache = kind(settings)
        throttle = FailureThrottle(cache, settings, secrets.token_hex(8))
        try:
            return await use(throttle, cache)
        finally:
            await cache.close()

    return asyncio.run(run())


class Guesses:
    """Attempts of one key; those that were let through to be looked at are counted."""

    def __init__(self, throttle: FailureThrottle, key: str = "name@address") -> None:
        self._throttle = throttle
        self._key = key
        self.evaluated = 0

    async def one(self, ends: Exception | None) -> None:
        """It ends like this, after others had their turn."""
        async with self._throttle.attempt(self._key):
            self.evaluated += 1
            await asyncio.sleep(0)
            if ends is not None:
                raise ends

    async def many(self, count: int, ends: Exception | None) -> int:
        """At once; how many were refused."""
        tries = [self.one(ends) for _ in range(count)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(r, TooMany) or r is ends for r in results), set(map(repr, results))
        return sum(isinstance(r, TooMany) for r in results)


@pytest.fixture(params=["redis", "away"])
def url(request: pytest.FixtureRequest) -> str:
    """A Redis that is there, and one that is not."""
    if request.param == "away":
        return f"redis://127.0.0.1:{free_port()}"
    return str(request.getfixturevalue("redis_server").url)


@pytest.mark.parametrize("failure", [Unauthenticated("wrong"), Forbidden("wrong")])
def test_a_burst_gets_no_more_guesses_than_a_sequence(url: str, failure: Exception) -> None:
    async def use(throttle: FailureThrottle, _: Cache) -> None:
        guesses = Guesses(throttle)
        for _ in range(2):
            refused = await guesses.many(AT_ONCE, failure)
            assert guesses.evaluated == FAILURES_MAX
        assert refused == AT_ONCE
        other = Guesses(throttle, "another name@address")
        assert await other.many(1, failure) == 0

    with_throttle(url, use)


def test_what_ends_well_is_not_counted(url: str) -> None:
    async def use(throttle: FailureThrottle, _: Cache) -> None:
        guesses = Guesses(throttle)
        for _ in range(3):
            assert await guesses.many(10 * FAILURES_MAX, None) == 0
            assert await guesses.many(FAILURES_MAX - 1, Unauthenticated("wrong")) == 0
        assert await guesses.many(1, None) == 0
        assert await guesses.many(FAILURES_MAX, Unauthenticated("wrong")) == 0
        assert await guesses.many(1, None) == 1

    with_throttle(url, use)


def test_what_was_not_looked_at_is_no_guess(url: str) -> None:
    """A full queue of hashes, a database that is away."""

    async def use(throttle: FailureThrottle, _: Cache) -> None:
        guesses = Guesses(throttle)
        assert await guesses.many(10 * FAILURES_MAX, Unavailable("not now")) == 0
        assert await guesses.many(FAILURES_MAX, Unauthenticated("wrong")) == 0
        assert await guesses.many(1, None) == 1

    with_throttle(url, use)


class FlappingCache(Cache):
    """A Redis that is there or away for each question as the test has said, or else there."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.is_there: list[bool] = []

    async def ask(self, question: Callable[[Server], Awaitable[T]]) -> T | None:
        if self.is_there and not self.is_there.pop(0):
            return None
        return await super().ask(question)


def test_a_redis_that_comes_and_goes_gives_no_further_guesses(redis_server: RedisServer) -> None:
    """Whichever of the failures Redis takes, and whether it is there for the one too many."""

    async def use(throttle: FailureThrottle, cache: Cache) -> None:
        assert isinstance(cache, FlappingCache)
        for is_there in itertools.product([True, False], repeat=FAILURES_MAX + 1):
            cache.is_there = list(is_there)
            guesses = Guesses(throttle, f"{is_there}@address")
            refused = [await guesses.many(1, Unauthenticated("wrong")) for _ in is_there]
            assert refused == [0] * FAILURES_MAX + [1], is_there
            # All were asked of Redis, but for a last one after it had taken none of them.
            assert cache.is_there == [] or not any(is_there[:-1])

    with_throttle(redis_server.url, use, FlappingCache)


def test_what_was_not_looked_at_is_given_back_to_whoever_counted_it(
    redis_server: RedisServer,
) -> None:
    async def use(throttle: FailureThrottle, cache: Cache) -> None:
        assert isinstance(cache, FlappingCache)
        guesses = Guesses(throttle)
        for reserving, giving_back in itertools.product([True, False], repeat=2):
            cache.is_there = [reserving, giving_back] if reserving else [reserving]
            assert await guesses.many(1, Unavailable("not now")) == 0
            assert cache.is_there == []
        # One was counted by Redis, which was away when it was to be given back.
        assert await guesses.many(FAILURES_MAX, Unauthenticated("wrong")) == 1

    with_throttle(redis_server.url, use, FlappingCache)


class LateCache(Cache):
    """A Redis whose next answer of the throttle comes no sooner than the test lets it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.held: asyncio.Future[None] | None = None
        self.is_asked = asyncio.Event()

    async def ask(self, question: Callable[[Server], Awaitable[T]]) -> T | None:
        held, self.held = self.held, None
        answer = await super().ask(question)
        if held is not None:
            self.is_asked.set()
            await held
        return answer


@pytest.mark.parametrize("ends", [None, Unavailable("not now")])
def test_a_refusal_that_comes_late_is_asked_for_again(
    redis_server: RedisServer, ends: Exception | None
) -> None:
    """Those whom it counted have meanwhile ended well, or were not looked at."""

    async def use(throttle: FailureThrottle, cache: Cache) -> None:
        assert isinstance(cache, LateCache)
        go_on = asyncio.Event()

        async def attempt() -> None:
            async with throttle.attempt("name@address"):
                inside.release()
                await go_on.wait()
                if ends is not None:
                    raise ends

        inside = asyncio.Semaphore(0)
        counted = [asyncio.create_task(attempt()) for _ in range(FAILURES_MAX)]
        for _ in counted:
            await inside.acquire()
        held = cache.held = asyncio.get_running_loop().create_future()
        late = asyncio.create_task(attempt())
        await cache.is_asked.wait()
        go_on.set()
        assert await asyncio.gather(*counted, return_exceptions=True) == [ends] * FAILURES_MAX
        held.set_result(None)
        assert await asyncio.gather(late, return_exceptions=True) == [ends]

    with_throttle(redis_server.url, use, LateCache)


def test_many_questions_at_once_are_no_outage(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(_: FailureThrottle, cache: Cache) -> None:
        asked = [cache.ask(lambda server: server.ping()) for _ in range(AT_ONCE)]
        looks = [cache.ping() for _ in range(AT_ONCE)]
        assert set(await asyncio.gather(*asked, *looks)) == {True}

    with_throttle(redis_server.url, use)
    assert caplog.messages == []
