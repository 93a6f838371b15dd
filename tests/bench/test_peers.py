"""The peers that `bench.compare` measures really start, answer rightly, and as the service does."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from copy import copy
from typing import Any, TypeVar

import asyncpg
import pytest

from bench import checks, rounds, scenarios
from bench.contenders import CONTENDERS, OURS
from bench.database import seeded
from bench.scenarios import Read
from hl_utils.servers.redis import RedisServer

T = TypeVar("T")
Answers = dict[str, list[Read]]
SECRET = "of-32-bytes-or-more-for-the-tests-of-peers"
DISTINCT = 200
DIALOGS_WRITTEN = 20


# In CI a missing npm fails the test instead.
needs_node = pytest.mark.skipif(
    shutil.which("npm") is None and "CI" not in os.environ,
    reason="npm is missing: install Node.js 20 with npm",
)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """As many users as it takes for searches, feeds and dialogs to fill pages."""
    with seeded(None, users=1500, means=rounds.MEANS) as url:
        yield url


Ask = Callable[[str], Answers]


@pytest.fixture(scope="module")
def ask(database_url: str) -> Iterator[Ask]:
    """Starts a server by its name and asks it everything once; the answers, which were right."""
    wanted = asyncio.run(with_database(database_url, reads))
    with RedisServer() as redis:

        def asked(name: str) -> Answers:
            contender = CONTENDERS[name]
            contender.install()
            found = {scenario: [*map(copy, those)] for scenario, those in wanted.items()}
            with ExitStack() as stack:
                started = rounds.start_servers(stack, [contender], database_url, redis.url, SECRET)
                port, _ = started[name]
                asyncio.run(with_database(database_url, everything_once, port, found))
            return found

        yield asked


@pytest.fixture(scope="module")
def ours(ask: Ask) -> Answers:
    return ask(OURS)


async def with_database(url: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    database = await asyncpg.connect(url)
    try:
        return await call(database, *arguments)
    finally:
        await database.close()


async def reads(database: asyncpg.Connection) -> Answers:
    return await checks.reads(database, DISTINCT, random.Random(1), SECRET)


async def everything_once(database: asyncpg.Connection, port: int, found: Answers) -> None:
    sends = await scenarios.sends(database, DIALOGS_WRITTEN, random.Random(2), SECRET)
    await checks.everything_once(database, port, found, sends)


@pytest.mark.parametrize("name", ["FastAPI", "Go", pytest.param("Fastify", marks=needs_node)])
def test_peer_answers_as_the_service_does(ours: Answers, ask: Ask, name: str) -> None:
    checks.same_bytes(ours, ask(name))
