"""The peers that `bench.compare` measures really start, answer rightly, and as the service does."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import asyncpg
import pytest

from bench import checks, rounds, scenarios
from bench.contenders import CONTENDERS, OURS
from bench.database import seeded
from bench.scenarios import Read
from hl_utils.servers.redis import RedisServer

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
    with seeded(None, users=3000, means=rounds.MEANS) as url:
        yield url


async def asked(database_url: str, port: int) -> dict[str, list[Read]]:
    """Everything once; the answers, which were right."""
    database = await asyncpg.connect(database_url)
    try:
        reads = await checks.reads(database, DISTINCT, random.Random(1), SECRET)
        sends = await scenarios.sends(database, DIALOGS_WRITTEN, random.Random(2), SECRET)
        await checks.everything_once(database, port, reads, sends)
        return reads
    finally:
        await database.close()


@pytest.mark.parametrize("name", ["FastAPI", "Go", pytest.param("Fastify", marks=needs_node)])
def test_peer_answers_as_the_service_does(database_url: str, name: str) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        running = [CONTENDERS[OURS], CONTENDERS[name]]
        for one in running:
            one.install()
        started = rounds.start_servers(stack, running, database_url, redis.url, SECRET)
        ours, peers = (asyncio.run(asked(database_url, started[one.name][0])) for one in running)
        checks.same_bytes(ours, peers)
