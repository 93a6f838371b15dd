"""Concurrent searches by the same statement are one, on every database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hlfast import codec
from hlfast.batching import UNBATCHED, BatchLimits
from hlfast.db.database import Database, Row
from hlfast.db.open import open_database
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings
from hlfast.users.schemas import Search
from hlfast.users.search import UserSearch

NAMES = ("ada", "adam", "bob", "Юля", "o'neil")
SEARCHES = [
    Search(first_name="a"),
    Search(first_name="ada", limit=1),
    Search(first_name="ю"),
    Search(first_name="O'"),
    Search(first_name="zoe"),
    Search(first_name="a", last_name="x"),
    Search(last_name="a"),
    Search(last_name="bo", after=2),
    Search(last_name="bo", after=3),
]


class Counted:
    """A database that counts its statements."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: Counter[str] = Counter()

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """Count the statement, and give all its rows."""
        self.asked[statement] += 1
        return await self._database.fetch(statement, *args)


def test_concurrent_searches_are_one_statement(migrated_database_url: str) -> None:
    async def run() -> None:
        database = await open_database(migrated_database_url, ("main",), Settings(), wait_s=30)
        for name in NAMES:
            key = name.lower()
            row = (name, key, "a hash", name, name, key, key, None, None, None, None)
            await database.fetch("user_create", *row)
        cache = ResponseCache(0)
        profiles = Profiles(database, cache, UNBATCHED)
        counted: Any = Counted(database)
        search = UserSearch(counted, profiles, cache, BatchLimits(512, 2))
        alone = [await search.page(one) for one in SEARCHES]
        assert counted.asked.total() == len(SEARCHES)
        shown = [[user["username"] for user in codec.decode(page)["items"]] for page in alone]
        assert shown[:5] == [["ada", "adam"], ["ada"], ["Юля"], ["o'neil"], []]
        assert shown[5:] == [[], ["ada", "adam"], ["bob"], []]
        counted.asked.clear()
        assert await asyncio.gather(*map(search.page, SEARCHES)) == alone
        assert counted.asked == {
            "user_find_by_first": 1,
            "user_find_by_last": 1,
            "user_find_by_both": 1,
        }
        await database.close()

    asyncio.run(run())
