"""One prepared statement, and many single reads that become one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.micro.conftest import USERS
from hlfast.batching import UNBATCHED, BatchLimits
from hlfast.db.postgres import PostgresDatabase
from hlfast.profiles import Profile, Profiles
from hlfast.response_cache import ResponseCache

Timed = Callable[[Callable[[], Any]], Any]
TOGETHER = 32


def test_empty_turn(timed: Timed) -> None:
    """What the other figures of this file hold beside their statement."""

    async def nothing() -> int:
        return 7

    assert timed(nothing) == 7


def test_statement(timed: Timed, database: PostgresDatabase) -> None:
    row = timed(lambda: database.fetch_row("user_credentials_by_id", 7))
    assert (row["id"], row["token_version"], row["disabled"]) == (7, 0, False)


@pytest.mark.parametrize("enabled", [True, False], ids=["joined", "one by one"])
def test_reads_at_once(timed: Timed, database: PostgresDatabase, enabled: bool) -> None:
    limits = BatchLimits(512, 512) if enabled else UNBATCHED
    users = Profiles(database, ResponseCache(0), limits)
    ids = [1 + 31 * n % USERS for n in range(TOGETHER)]

    async def all_at_once() -> list[Profile | None]:
        return await asyncio.gather(*(users.get(user_id) for user_id in ids))

    found = timed(all_at_once)
    shown = [json.loads(one.body) for one in found]
    assert [user["id"] for user in shown] == ids
    assert {user["username"] for user in shown} == {f"user.{n}" for n in ids}
