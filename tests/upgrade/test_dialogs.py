"""Dialogs of release 0a7dc31 under the newest schema."""

from __future__ import annotations

import asyncio
import itertools

import aiomysql
import asyncpg
import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer, rows, value
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings
from tests.upgrade import after, before
from tests.upgrade.before import END, REFUSING, Process, pair

_numbers = itertools.count(1)


@pytest.fixture
def old_url(database_server: SqlServer) -> str:
    """A database that 0a7dc31 has made and used."""
    return before.make(database_server, f"of_before_{next(_numbers)}")


def test_they_are_what_they_were_and_go_on(old_url: str, redis_server: RedisServer) -> None:
    seen = before.look(old_url)
    assert len(seen.events) > 3
    assert {unread for dialogs in seen.lists.values() for _, unread, _ in dialogs} > {0, 1, 10}
    before.upgrade(old_url)
    assert sorted(after.events(old_url)) == sorted(seen.events)
    after.refuses_the_old(old_url)
    with Api(old_url, redis_server.url) as api:
        users = after.people(api)
        after.shows_the_same(users, seen)
        after.goes_on(users, seen)
        for user in users.values():
            user.close()
    after.refuses_the_old(old_url)


def test_while_they_are_copied_they_are_read_and_not_written(old_url: str) -> None:
    seen = before.look(old_url)
    before.migrate(old_url, queries.DIALOGS, dialogs=REFUSING[queries.dialect_of(old_url)])
    dialog = pair(1, 2)

    async def work(one: Process) -> None:
        assert await one.is_refused("dialog_send", dialog, 1, "late", None, False)
        assert await one.is_refused("dialog_send", pair(3, 4), 3, "late", None, True)
        assert await one.is_refused("dialog_read", dialog, 2, END)

    with before.process(old_url) as (runner, one):
        runner.run(work(one))
    assert before.look(old_url) == seen


def test_what_is_left_of_a_deleted_dialog_stays(old_url: str) -> None:
    rows(old_url, "DELETE FROM dialog WHERE low_id = 6")
    before.upgrade(old_url)
    assert value(old_url, "SELECT count(*) FROM message WHERE dialog_id = dialog_id_of(6, 7)") == 1


def test_a_copy_that_was_interrupted_begins_anew(old_url: str) -> None:
    """In PostgreSQL a migration is one transaction, and the same holds of it."""
    if queries.dialect_of(old_url) == "postgres":
        return
    seen = before.look(old_url)
    for count, name in ((3, "dialogs/0003_mixed_ids_copied"), (None, "dialogs/0004_mixed_ids")):
        for _ in range(2):
            rows(old_url, "DELETE FROM migration WHERE name = $1", name)
            if count is not None:
                before.migrate(old_url, queries.DIALOGS, dialogs=count)
            else:
                before.upgrade(old_url)
    assert sorted(after.events(old_url)) == sorted(seen.events)
    assert value(old_url, "SELECT count(*) FROM message") == sum(map(len, seen.pages.values())) / 2
    after.refuses_the_old(old_url)


def test_a_process_of_today_does_not_start_before(old_url: str) -> None:
    for count in (None, REFUSING[queries.dialect_of(old_url)]):
        if count is not None:
            before.migrate(old_url, queries.DIALOGS, dialogs=count)
        with pytest.raises(
            (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, aiomysql.MySQLError)
        ):
            asyncio.run(open_database(old_url, (queries.DIALOGS,), Settings(database_pool_size=1)))
