"""From rows of the database to the bytes of an answer."""

from __future__ import annotations

import asyncio
import json

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from hlfast import codec, profiles
from hlfast.db.postgres import PostgresDatabase
from hlfast.web.fields import page


@pytest.mark.parametrize("limit", [1, 20])
def test_encode_users(
    benchmark: BenchmarkFixture,
    loop: asyncio.AbstractEventLoop,
    database: PostgresDatabase,
    limit: int,
) -> None:
    found = loop.run_until_complete(database.fetch("user_by_ids", list(range(1, limit + 1))))
    body = benchmark(lambda: codec.encode(page(profiles.show(found), limit)))
    items = json.loads(body)["items"]
    assert [item["id"] for item in items] == list(range(1, limit + 1))
    assert all(profiles.User.model_validate(item) and len(item) == 8 for item in items)
    assert items[0]["birthdate"] == "1990-05-17"
