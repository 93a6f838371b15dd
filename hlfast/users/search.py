"""Search: pages of users whose names begin with the given texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from hlfast import codec
from hlfast.batching import BatchLimits, BatchReader
from hlfast.codec import prefix_end, search_key
from hlfast.db.database import Database
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.users.schemas import Search
from hlfast.web.fields import first

# The statement that finds a page, and its arguments. The response cache's key of the page, too.
PageQuery = tuple[str, tuple[str | int, ...]]


class UserSearch:
    """Finds pages of users. Concurrent searches by the same statement are one round trip."""

    def __init__(
        self, database: Database, profiles: Profiles, cache: ResponseCache, limits: BatchLimits
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._cache = cache
        self._pages = BatchReader(self._read_pages, limits)

    async def page(self, search: Search) -> bytes:
        """The page of users whose names start so, by ascending id, as JSON."""
        query = _page_query(search)
        while True:
            found = await self._pages.get(query) or ""
            page = self._cache.get(query, found)
            if page is not None:
                return page
            # One more than is shown says whether anything follows.
            versions, more = first(
                [_version(one) for one in found.split(",")] if found else [], search.limit
            )
            read = await self._profiles.of_versions(versions)
            # Whoever has just changed may have another name now.
            if all(
                user_id in read and read[user_id].version == version
                for user_id, version in versions
            ):
                last = versions[-1][0] if more else None
                page = codec.page_of([user.body for user in read.values()], last)
                self._cache.put_again(query, found, page)
                return page

    async def _read_pages(self, queries: Sequence[PageQuery]) -> Mapping[PageQuery, str]:
        """`<id>:<version>,…` of each page of users, by ascending id.

        The pages of one statement are one round trip.
        """
        found: dict[PageQuery, str] = {}
        by_statement: dict[str, list[PageQuery]] = {}
        for query in queries:
            by_statement.setdefault(query[0], []).append(query)

        async def read(statement: str, several: Sequence[PageQuery]) -> None:
            arguments = zip(*(query[1] for query in several), strict=True)
            for number, page in await self._database.fetch(statement, *map(list, arguments)):
                found[several[number - 1]] = page

        await asyncio.gather(*(read(*one) for one in by_statement.items()))
        return found


def _version(text: str) -> tuple[int, int]:
    """The id and version of a user from `<id>:<version>`."""
    user_id, _, version = text.partition(":")
    return int(user_id), int(version)


def _page_query(search: Search) -> PageQuery:
    """The statement that finds the page, and its arguments."""
    first_name, last_name = search_key(search.first_name), search_key(search.last_name)
    page = (search.after, search.limit + 1)
    by_first, by_last = (first_name, prefix_end(first_name)), (last_name, prefix_end(last_name))
    if not last_name:
        return "user_find_by_first", (*by_first, *page)
    if not first_name:
        return "user_find_by_last", (*by_last, *page)
    return "user_find_by_both", (*by_first, *by_last, *page)
