"""Pages from the JSON that rows have: the same bytes as from columns, whoever changes a row."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import SqlServer, connect
from hlfast import codec
from hlfast.batching import UNBATCHED, BatchLimits
from hlfast.db.database import Database, Row
from hlfast.db.open import open_database
from hlfast.ids import ID_MAX
from hlfast.posts.encoded import PageReader, from_lines
from hlfast.posts.schemas import PostNew, PostPatch
from hlfast.posts.service import Posts
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings
from tests.conftest import TEMPLATE, new_database

ME = 1
# Every character that JSON may not have as it is, some that it may escape, and of each length.
CONTENTS = [
    "".join(map(chr, range(1, 0x100))),
    'a "quoted" \\n / \u2028 Ж 是 👋 \U0010ffff',
    "{},\t",
]
DEADLINE_S = 30.0


class Told:
    """An outbox of whose events nobody is told."""

    def committed(self, row: Any) -> None:
        """Nobody."""


def posts(database: Database, *, encode_at_write: bool) -> Posts:
    """The service."""
    cache = ResponseCache(0)
    told: Any = Told()
    return Posts(
        database,
        database,
        Profiles(database, cache, UNBATCHED),
        told,
        cache,
        limits=UNBATCHED,
        page_limits=UNBATCHED,
        feed_posts_max=1000,
        encode_at_write=encode_at_write,
        feeds_from_newest=True,
    )


def on_each(server: SqlServer, play: Callable[[Database, Any, Posts, Posts], Any]) -> None:
    """Play with a new database, a connection to it, and a service that is to write JSON or not."""

    async def run() -> None:
        url = new_database(server, TEMPLATE)
        database = await open_database(url, ("main",), Settings(database_pool_size=2))
        by_hand = await connect(url)
        new, old = (posts(database, encode_at_write=one) for one in (True, False))
        try:
            names = ("ada", "ada", "a hash", "Ada", "Ada", "ada", "ada", None, None, None, None)
            await database.fetch("user_create", *names)
            await play(database, by_hand, new, old)
        finally:
            await new.close()
            await by_hand.close()
            await database.close()

    asyncio.run(run())


async def lines(database: Database) -> list[bytes]:
    """What my wall is put together from."""
    pages = PageReader(database, UNBATCHED, "post_wall_encoded")
    return list(await pages.get((ME, ME, ID_MAX, 100)))


async def all_encoded(database: Database) -> None:
    """Until every post of mine has its JSON."""
    deadline = time.monotonic() + DEADLINE_S
    while any(b"\t" in line for line in await lines(database)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def state(database: Database) -> Sequence[Any]:
    """Versions of posts, and of the wall."""
    wall = await database.fetch("post_wall", ME, ME, ID_MAX, 100)
    return [tuple(row)[-1] for row in wall]


def test_a_page_is_the_same_from_json_and_from_columns(database_server: SqlServer) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        for content in CONTENTS:
            await new.create(ME, PostNew(content=content, privacy="friends"))
        await new.create(ME, PostNew(content="once", client_id="c"))
        await new.create(ME, PostNew(content="twice", client_id="c"))
        written = await lines(database)
        assert len(written) == len(CONTENTS) + 1
        assert not any(b"\t" in line for line in written)
        for limit in range(1, len(written) + 2):
            page = await new.wall(ME, ME, ID_MAX, limit)
            assert page == await old.wall(ME, ME, ID_MAX, limit)
        assert codec.decode(page)["items"][-1]["content"] == CONTENTS[0]
        assert (
            await new.wall(ME, ME, 1, 9)
            == await old.wall(ME, ME, 1, 9)
            == codec.listing(b"[]", None)
        )

    on_each(database_server, play)


def test_a_time_is_the_same_by_sql_and_by_python(database_server: SqlServer) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        first = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
        for microseconds in (0, 1, 10, 123456, 120000, 999999, 1_000_000):
            at = first + timedelta(microseconds=microseconds)
            text = at.strftime("%Y-%m-%d %H:%M:%S.%f")
            [(found,)] = await by_hand.rows(f"SELECT json_time('{text}')")
            assert found == codec.encode(at).decode()

    on_each(database_server, play)


def test_a_row_changed_by_sql_is_read_from_its_columns_and_then_encoded(
    database_server: SqlServer,
) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        for content in ("one", "two"):
            await new.create(ME, PostNew(content=content))
        for change in (
            "content = 'One'",
            "content = 'One '",
            "privacy = 'friends'",
            "created_at = '2026-05-04 09:30:00'",
            "updated_at = '2026-05-04 09:30:00.5'",
            "author_id = author_id + 0, content = 'one'",
            "encoded = NULL",
        ):
            await by_hand.rows(f"UPDATE post SET {change} WHERE id = 1")
            assert [b"\t" in line for line in await lines(database)] == [False, True], change
            before = await state(database)
            counted = await by_hand.rows("SELECT changes FROM wall")
            page = await new.wall(ME, ME, ID_MAX, 9)
            assert page == await old.wall(ME, ME, ID_MAX, 9)
            await all_encoded(database)
            assert await new.wall(ME, ME, ID_MAX, 9) == page
            # To get its JSON changes neither a post nor a wall.
            assert await state(database) == before
            assert await by_hand.rows("SELECT changes FROM wall") == counted
        await by_hand.rows("UPDATE post SET version = version + 7 WHERE id = 1")
        assert not any(b"\t" in line for line in await lines(database))
        assert (await state(database))[-1] > before[-1]
        assert await by_hand.rows("SELECT changes FROM wall") != counted

    on_each(database_server, play)


def test_rows_of_old_processes_get_their_json(database_server: SqlServer) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        for content in CONTENTS:
            await old.create(ME, PostNew(content=content))
        post, _ = await new.create(ME, PostNew(content="first"))
        await old.change(ME, post["id"], PostPatch(content="second"))
        assert all(b"\t" in line for line in await lines(database))
        page = await new.wall(ME, ME, ID_MAX, 9)
        await all_encoded(database)
        assert await new.wall(ME, ME, ID_MAX, 9) == page == await old.wall(ME, ME, ID_MAX, 9)
        # A page that is late brings nothing of before.
        row = await database.fetch_row("post_get", post["id"], ME)
        assert row is not None
        await old.change(ME, post["id"], PostPatch(privacy="friends"))
        await new._encoding._encode([row])
        assert b"\t" in (await lines(database))[0]

    on_each(database_server, play)


def test_a_change_brings_its_json(database_server: SqlServer) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        post, _ = await new.create(ME, PostNew(content="first"))
        for content in CONTENTS:
            for patch in (PostPatch(content=content, privacy="friends"), PostPatch(content="x")):
                await new.change(ME, post["id"], patch)
                assert not any(b"\t" in line for line in await lines(database))
                assert await new.wall(ME, ME, ID_MAX, 9) == await old.wall(ME, ME, ID_MAX, 9)
        # The text is not there to be encoded: whoever meets the row does that.
        await new.change(ME, post["id"], PostPatch(privacy="public"))
        assert all(b"\t" in line for line in await lines(database))

    on_each(database_server, play)


class Counted:
    """A database that counts its statements."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: Counter[str] = Counter()

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows."""
        self.asked[statement] += 1
        return await self._database.fetch(statement, *args)


def test_pages_that_meet_are_one_statement(postgres_server: PostgresServer) -> None:
    async def play(database: Database, by_hand: Any, new: Posts, old: Posts) -> None:
        for name in ("bob", "eve"):
            key = (name, name, "a hash", name, name, name, name, None, None, None, None)
            await database.fetch("user_create", *key)
        for other in (2, 3):
            await database.fetch("friend_put", ME, other, 9)
        await database.fetch("friend_put", 2, ME, 9)
        for number in range(5):
            for author in (ME, 2, 3):
                await new.create(author, PostNew(content=f"a\n{number}", privacy="friends"))
        await old.create(2, PostNew(content="of before"))
        pages = {
            # Of oneself, of a friend, from somewhere, by somebody who may see nothing, of nobody.
            "post_wall_encoded": [
                *((ME, ME, ID_MAX, 3), (2, ME, ID_MAX, 9), (ME, 2, 9, 2)),
                *((3, ME, ID_MAX, 9), (9, ME, ID_MAX, 9)),
            ],
            "post_feed_encoded": [(ME, ID_MAX, 3), (2, 9, 9), (3, ID_MAX, 9)],
        }
        for statement, asked in pages.items():
            counted: Any = Counted(database)
            reader = PageReader(counted, BatchLimits(512, 2), statement, f"{statement}_many")
            alone = [list(await reader.get(page)) for page in asked]
            together = await asyncio.gather(*(reader.get(page) for page in asked))
            assert [list(page) for page in together] == alone
            assert [len(page) for page in alone] == (
                [3, 6, 2, 0, 0] if "wall" in statement else [3, 3, 0]
            )
            assert counted.asked == {statement: len(asked), f"{statement}_many": 1}
            # And no more than 16 of them.
            counted.asked.clear()
            many = [(*asked[0][:-1], limit) for limit in range(1, 41)]
            together = await asyncio.gather(*(reader.get(page) for page in many))
            there = 5 if "wall" in statement else 6
            assert [len(page) for page in together] == [min(page[-1], there) for page in many]
            assert counted.asked == {f"{statement}_many": 3}

    on_each(postgres_server, play)


def test_lines_become_a_page() -> None:
    one, two = b'9,"content":"a"', b'8,"content":"},{"'
    assert from_lines([], 2) == (b"[]", None)
    assert from_lines([one], 1) == (b'[{"id":9,"content":"a"}]', None)
    assert from_lines([one, two], 1) == (b'[{"id":9,"content":"a"}]', 9)
    both = b'[{"id":9,"content":"a"},{"id":8,"content":"},{"}]'
    assert from_lines([one, two], 2) == (both, None)
    assert from_lines([one, two, b"7\t"], 2) == (both, 8)
    assert from_lines([one, b"8\t"], 2) is None
