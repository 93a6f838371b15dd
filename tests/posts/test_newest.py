"""The feed of somebody with many friends, from the newest posts of everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hl_utils.servers.sql import SqlServer, connect
from hlfast import codec
from hlfast.batching import UNBATCHED
from hlfast.db.database import Database
from hlfast.db.open import open_database
from hlfast.posts.service import Posts
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings
from tests.conftest import TEMPLATE, new_database

ME, FRIENDS, POSTS_MAX = 1, 400, 60
# Of whom the last is no friend, and writes as often as all others together.
STRANGER = FRIENDS + 2
NEW_POST = "INSERT INTO post (author_id, content, privacy) VALUES ({}, '{}', '{}')"


class Watched:
    """A database that remembers which statements it was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: list[str] = []

    async def fetch(self, name: str, *args: Any) -> Any:
        self.asked.append(name)
        return await self._database.fetch(name, *args)

    async def fetch_row(self, name: str, *args: Any) -> Any:
        self.asked.append(name)
        return await self._database.fetch_row(name, *args)


def posts(database: Any, *, encode_at_write: bool, feeds_from_newest: bool) -> Posts:
    cache = ResponseCache(1_000_000)
    nobody: Any = None
    return Posts(
        database,
        database,
        Profiles(database, cache, UNBATCHED),
        nobody,
        cache,
        limits=UNBATCHED,
        page_limits=UNBATCHED,
        feed_posts_max=POSTS_MAX,
        encode_at_write=encode_at_write,
        feeds_from_newest=feeds_from_newest,
    )


class Feeds:
    """My feed as both ways read it. `play` runs on a database where I have many friends."""

    def __init__(self, server: SqlServer, *, encode_at_write: bool) -> None:
        self._server = server
        self._encode_at_write = encode_at_write

    def run(self, play: Callable[[Feeds], Awaitable[None]]) -> None:
        async def run() -> None:
            url = new_database(self._server, TEMPLATE)
            database = await open_database(url, ("main",), Settings(database_pool_size=2))
            self.by_hand: Any = await connect(url)
            self.watched = Watched(database)
            self._walls, self._newest = (
                posts(on, encode_at_write=self._encode_at_write, feeds_from_newest=newest)
                for on, newest in ((database, False), (self.watched, True))
            )
            try:
                pairs = [(ME, one) for one in range(2, FRIENDS + 2)]
                pairs += [(one, ME) for one in range(2, FRIENDS + 2)]
                rows = ", ".join(f"({one}, {other}, 3, 1)" for one, other in pairs)
                await self.sql(
                    f"INSERT INTO friend (user_id, friend_id, state, version) VALUES {rows}",
                    f"INSERT INTO friendcount (user_id, friends) VALUES ({ME}, {FRIENDS})",
                )
                await play(self)
            finally:
                for one in (self._walls, self._newest):
                    await one.close()
                await self.by_hand.close()
                await database.close()

        asyncio.run(run())

    async def sql(self, *statements: str) -> None:
        for one in statements:
            await self.by_hand.rows(one)

    async def write(self, author: int, count: int, privacy: str = "friends") -> None:
        for number in range(count):
            await self.sql(NEW_POST.format(author, f"{author}, {number}", privacy))

    async def first_page(self, limit: int) -> bytes:
        """Of the way that is tested."""
        return await self._newest.feed(ME, None, limit)

    async def pages(self, limit: int) -> list[int]:
        """The ids on all pages, which are the same bytes either way."""
        cursor: str | None = None
        found: list[int] = []
        while True:
            page = await self._newest.feed(ME, cursor, limit)
            assert page == await self._walls.feed(ME, cursor, limit)
            listing = codec.decode(page)
            found += [post["id"] for post in listing["items"]]
            cursor = listing["next"]
            if cursor is None:
                return found


@pytest.fixture(params=[True, False], ids=["JSON", "columns"])
def feeds(request: pytest.FixtureRequest, database_server: SqlServer) -> Feeds:
    return Feeds(database_server, encode_at_write=request.param)


def test_both_ways_show_the_same_pages(feeds: Feeds) -> None:
    async def play(feeds: Feeds) -> None:
        assert await feeds.pages(5) == []
        for author in range(2, 42):
            await feeds.write(author, 2, "public" if author % 2 else "friends")
            await feeds.write(STRANGER, 2)
        # Since the second look it is known that I have many friends.
        for limit in (1, 7, 20, POSTS_MAX - 1, POSTS_MAX, 100):
            pages = await feeds.pages(limit)
            assert len(pages) == POSTS_MAX
        assert "post_feed_newest" in {name.removesuffix("_encoded") for name in feeds.watched.asked}
        assert "feed_reached_newest" in feeds.watched.asked
        # Nothing is kept, so everything is seen at once.
        newest = await feeds.pages(20)
        await feeds.sql(
            f"UPDATE post SET content = 'changed' WHERE id = {newest[0]}",
            f"DELETE FROM post WHERE id = {newest[1]}",
            "DELETE FROM friend WHERE user_id = 1 AND friend_id = 40",
        )
        after = await feeds.pages(20)
        assert newest[0] in after
        assert newest[1] not in after
        await feeds.write(2, 1)
        assert len(set(await feeds.pages(20)) - set(after)) == 1

    feeds.run(play)


def test_no_friend_s_wall_is_read_for_a_page_of_newest_posts(feeds: Feeds) -> None:
    async def play(feeds: Feeds) -> None:
        await feeds.write(2, 30)
        await feeds.pages(5)
        feeds.watched.asked.clear()
        await feeds.first_page(29)
        # And rows that have no JSON get theirs.
        asked = set(feeds.watched.asked) - {"post_encode"}
        assert asked
        assert asked <= {"post_feed_newest_encoded", "post_feed_newest"}

    feeds.run(play)


def test_friends_who_write_seldom_are_read_from_their_walls(feeds: Feeds) -> None:
    async def play(feeds: Feeds) -> None:
        await feeds.write(2, 30)
        await feeds.pages(5)
        # More than are looked at.
        values = ", ".join(f"({STRANGER}, 'x', 'public')" for _ in range(FRIENDS))
        await feeds.sql(f"INSERT INTO post (author_id, content, privacy) VALUES {values}")
        for _ in range(3):
            assert len(await feeds.pages(20)) == 30
        feeds.watched.asked.clear()
        await feeds.pages(20)
        # Their answers are kept.
        assert feeds.watched.asked == ["feed_versions", "feed_versions"]

    feeds.run(play)
