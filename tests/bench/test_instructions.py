"""The service is really counted under callgrind, its answers are checked, and more is noticed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterator

import asyncpg
import pytest

from bench import checks, instructions, scenarios
from bench.contenders import CONTENDERS, OURS
from bench.database import seeded
from bench.instructions import Count, Window
from bench.load import WrongAnswer
from bench.scenarios import Read
from hl_utils.servers.redis import RedisServer

# In CI a missing valgrind fails the test instead.
needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None and "CI" not in os.environ,
    reason="valgrind is missing (Debian: apt-get install valgrind)",
)


@pytest.fixture
def environment(redis_server: RedisServer) -> Iterator[dict[str, str]]:
    with seeded(None, users=50, means={"friends": 2, "posts": 1, "dialogs": 1}) as database_url:
        found = instructions.addresses(database_url, redis_server.url)
        # Each connection has all statements parsed, fifty times as slowly as without valgrind.
        yield found | {"HLFAST_DATABASE_POOL_SIZE": "2"}


@needs_valgrind
@pytest.mark.timeout(600)
def test_this_tree(environment: dict[str, str]) -> None:
    asyncio.run(counts(environment))


async def counts(environment: dict[str, str]) -> None:
    options = instructions.arguments(
        ["--only", checks.USER, checks.SEND, "--at-once", "1", "3", "--requests=3", "--windows=1"]
    )
    secret = environment["HLFAST_SECRET"]
    database = await asyncpg.connect(environment["DATABASE_URL"])
    reads = await scenarios.user_by_id(database, 3, random.Random(1))
    sends = await scenarios.sends(database, 4, random.Random(2), secret)
    asked = instructions.windows(options, {checks.USER: reads}, sends)
    found = await instructions.count(database, CONTENDERS[OURS], asked, sends, environment)
    shapes = [(one.scenario, one.at_once, one.number) for one in found]
    assert shapes == [(name, n, 1) for name in (checks.USER, checks.SEND) for n in (1, 3)]
    assert all(one.instructions > 1000 for one in found)
    # Only an answer that was checked and right leaves its body, or is one more message sent.
    assert all(read.body for read in reads)
    messages = [one for window in asked if window.scenario == checks.SEND for one in window.rounds]
    assert sum(thread.acknowledged for thread in sends.threads) == sum(map(len, messages)) == 12
    # What was published is gone: it was waited for.
    assert await database.fetchval("SELECT count(*) FROM messageoutbox") == 0
    await database.close()


def test_cold_keys_are_asked_once() -> None:
    words = ["--only", checks.USER, "--keys=cold", "--at-once", "1", "3"]
    options = instructions.arguments([*words, "--requests=4", "--windows=2"])
    reads = [Read(f"/users/{number}", {}) for number in range(instructions.distinct(options))]
    sends = scenarios.Sends([])
    planned = instructions.windows(options, {checks.USER: reads}, sends)
    assert [(len(one.rounds), len(one.rounds[0])) for one in planned] == [(4, 1)] * 3 + [(2, 3)] * 3
    asked = [exchange.data for window in planned for each in window.rounds for exchange in each]
    assert len(set(asked)) == len(asked) == 30
    with pytest.raises(ValueError, match="too few for: user by id"):
        instructions.windows(options, {checks.USER: reads[:29]}, sends)


def test_a_wrong_answer_is_noticed() -> None:
    window = Window(checks.USER, 1, [[Read("/users/7", {"id": 7})]])
    instructions.accept(CONTENDERS[OURS], window, [[(200, '{"id":7}')]])
    for wrong in [(200, '{"id":8}'), (404, '{"id":7}'), (200, "")]:
        with pytest.raises(WrongAnswer, match=f"{OURS}, {checks.USER}: "):
            instructions.accept(CONTENDERS[OURS], window, [[wrong]])


def test_more_instructions_are_noticed() -> None:
    """Windows differ by some tenths of a percent; one scenario needs 4 % more than it did."""
    counted = []
    for number in range(1, 8):
        noise = 1 + 0.002 * (number % 3)
        counted += [
            Count(checks.FEED, "HEAD", 1, number, 700_000),
            Count(checks.FEED, OURS, 1, number, 700_000 * noise * 1.04),
            Count(checks.USER, "HEAD", 16, number, 200_000),
            Count(checks.USER, OURS, 16, number, 200_000 * noise * 0.99),
        ]
    found = instructions.verdicts(counted, "HEAD", 1.03)
    assert {key: one.is_worse for key, one in found.items()} == {
        (checks.FEED, 1): True,
        (checks.USER, 16): False,
    }
    feed, user = instructions.table(counted, "HEAD", 1.03)[2:]
    assert feed.startswith(
        "| feed page | 1 | 729,456 (± 0.20%) | 700,000 (± 0.00%) | **slower** 1."
    )
    assert "| faster 0.99" in user
