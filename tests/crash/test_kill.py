"""Whatever is killed under load, what was acknowledged is there, once, and the service goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from bench.crowd import Ask, Crowd, Line
from hl_utils.servers import families
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SERVERS, SqlServer, migrate, value
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database
from tests.crash.load import Actor, Ledger, audit, until
from tests.http import get

ACTORS = 10
GROWTH = 200
# Of actors, who name what they write by theirs: tests share a database.
_numbers = itertools.count()
# Answers that an actor may get: never a 500.
STATUSES = {200, 201, 409, 503}
# What makes a commit outlive the server, and the machine.
DURABLE = {
    "postgres": {
        "SHOW fsync": "on",
        "SHOW synchronous_commit": "on",
        "SHOW full_page_writes": "on",
    },
    "mysql": {
        "SELECT @@innodb_flush_log_at_trx_commit": 1,
        "SELECT @@innodb_doublewrite": 1,
    },
}


@pytest.fixture(scope="module", params=SERVERS)
def durable(request: pytest.FixtureRequest) -> Iterator[SqlServer]:
    """A server of its own, to be killed; as durable as it is by default."""
    with SERVERS[request.param]() as server:
        migrate(server, TEMPLATE)
        for question, answer in DURABLE[request.param].items():
            assert value(server.url(TEMPLATE), question) == answer
        yield server


@dataclass(slots=True)
class Stack:
    """An API of two processes on its own database."""

    api: Api
    database: SqlServer

    def health(self, which: str) -> int:
        """The status of a check."""
        return get(f"{self.api.url}/health/{which}").status_code


@pytest.fixture(scope="module")
def served(durable: SqlServer, redis_server: RedisServer) -> Iterator[Stack]:
    """One for each kind of database: two processes that nobody has forked take long to start."""
    url = new_database(durable, TEMPLATE)
    settings = {**MANY_CONNECTIONS, "HLFAST_WORKERS": 2, "HLFAST_DATABASE_TIMEOUT_S": 2}
    with Api(url, redis_server.url, **settings) as api:
        yield Stack(api, durable)


@pytest.fixture
def stack(served: Stack) -> Iterator[Stack]:
    """It, with nothing in its log that may not be there."""
    yield served
    assert not re.search(r"Request \S+ failed", served.api.log), "a 500 was written"
    assert "never retrieved" not in served.api.log


@asynccontextmanager
async def load(stack: Stack) -> AsyncIterator[Ledger]:
    """People who write, post and befriend during the block; held against the ledger after it."""
    ledger, stop = Ledger(), asyncio.Event()
    async with Crowd(stack.api.url, 2) as crowd:
        people = await crowd.people(ACTORS)
    ledger.people |= {person.id: person for person in people}
    # Neighbours write to each other, in both directions at once.
    pairs = [(people[n], people[n ^ 1]) for n in range(ACTORS)]
    actors = [Actor(next(_numbers), stack.api.url, me, partner, ledger) for me, partner in pairs]
    async with asyncio.TaskGroup() as group:
        for actor in actors:
            group.create_task(actor.run(stop))
        await ledger.grow(GROWTH)
        try:
            yield ledger
        finally:
            stop.set()
    assert set(ledger.statuses) <= STATUSES, ledger.statuses
    async with Crowd(stack.api.url, 2) as crowd:
        await audit(crowd, ledger)


def test_nothing_is_lost_when_every_process_of_the_api_is_killed(stack: Stack) -> None:
    async def run() -> None:
        async with load(stack) as ledger:
            for _ in range(2):
                broken = ledger.broken.copy()
                await asyncio.to_thread(stack.api.kill)
                await until(lambda b=broken: len(ledger.broken - b) == ACTORS, "nobody noticed")
                await asyncio.to_thread(stack.api.start)
                await ledger.grow(GROWTH)

    asyncio.run(run())


def test_nothing_is_lost_when_the_database_is_killed(stack: Stack) -> None:
    async def run() -> None:
        async with load(stack) as ledger:
            for _ in range(2):
                refused = ledger.refused.copy()
                families.kill(stack.database)
                await until(lambda r=refused: len(ledger.refused - r) == ACTORS, "no refusals")
                assert await asyncio.to_thread(stack.health, "ready") == 503
                assert await asyncio.to_thread(stack.health, "dependencies") == 503
                assert await asyncio.to_thread(stack.health, "live") == 200
                await asyncio.to_thread(stack.database.start)
                await ledger.grow(GROWTH)
                assert await asyncio.to_thread(stack.health, "ready") == 200
            assert not ledger.broken, "the API itself never went away"

    asyncio.run(run())


def test_a_database_that_hangs_is_a_refusal_and_not_a_hanging_api(stack: Stack) -> None:
    async def run() -> None:
        async with load(stack) as ledger:
            families.signal_all(stack.database, signal.SIGSTOP)
            try:
                await until(lambda: len(ledger.refused) == ACTORS, "no refusals")
                assert await asyncio.to_thread(stack.health, "live") == 200
                assert await asyncio.to_thread(stack.health, "ready") == 503
            finally:
                families.signal_all(stack.database, signal.SIGCONT)
            await ledger.grow(GROWTH)
            assert await asyncio.to_thread(stack.health, "ready") == 200
            assert not ledger.broken, "the API itself never went away"

    asyncio.run(run())


def test_one_killed_worker_disturbs_nobody_at_the_other_and_comes_back(stack: Stack) -> None:
    async def run() -> None:
        async with load(stack) as ledger, Crowd(stack.api.url, 8) as crowd:
            looks = await crowd.at_once([Ask("GET", "/health/live")] * 8)
            victim, survivor = families.children(stack.api.process.pid)
            os.kill(victim, signal.SIGKILL)
            answers = await asyncio.gather(
                *(line.ask(Ask("GET", "/health/live")) for line in crowd.lines),
                return_exceptions=True,
            )
            kept = [answer.process for answer in answers if not isinstance(answer, BaseException)]
            assert len(kept) == 4
            assert len(set(kept)) == 1
            await ledger.grow(GROWTH)
            # A third process replaces the second.
            async with Crowd(stack.api.url, 8) as again:
                found = await again.at_once([Ask("GET", "/health/live")] * 8)
            now = {answer.process for answer in found}
            assert now & {answer.process for answer in looks} == set(kept)
            assert len(now) == 2
            assert survivor in families.children(stack.api.process.pid)
            line = await Line.open(stack.api.url)
            assert (await line.ask(Ask("GET", "/health/ready"))).status == 200
            line.close()

    asyncio.run(run())
