"""The pool of MySQL connections: what is lost, late, cancelled, killed or locked."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import uvloop

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.sql import migrate
from hlfast.db import mysql
from hlfast.db.mysql import MysqlDatabase
from hlfast.db.open import open_database
from hlfast.errors import Unavailable
from hlfast.settings import Settings
from tests.conftest import TEMPLATE, new_database
from tests.db.mysql_pool import BOTH, one, play, user


async def processes(connection: Any) -> set[int]:
    """The ids of the connections that are running a statement."""
    found = await mysql.query(
        connection,
        "SELECT id FROM information_schema.processlist "
        "WHERE command = 'Query' AND id <> CONNECTION_ID()",
    )
    return {row["id"] for row in found}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait, for a generous time."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("own_statements")
def test_a_statement_that_takes_too_long_is_given_up(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        watcher = await mysql.connect(mysql_url)
        with pytest.raises(Unavailable):
            await database.fetch("sleep", 3600)
        assert await one(database, "echo", "next") == "next"

        async def nothing_runs() -> bool:
            return not await processes(watcher)

        # The server gives it up too.
        await until(nothing_runs)
        watcher.close()

    play(mysql_url, test, database_timeout_s=1, database_pool_size=1)


@pytest.mark.usefixtures("own_statements")
def test_a_cancelled_statement_answers_nobody_else(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        for number in range(20):
            pending = asyncio.create_task(database.fetch("sleep", 0.01))
            await asyncio.sleep(0.0007 * number)
            pending.cancel()
            assert await one(database, "echo", number) == number
        both = await asyncio.gather(*(one(database, "echo", number) for number in range(50)))
        assert both == list(range(50))

    play(mysql_url, test, database_pool_size=1)


@pytest.mark.usefixtures("own_statements")
def test_an_answer_that_is_cut_as_it_comes(mysql_url: str) -> None:
    """Its first bytes are there, and not its last ones: more than a buffer holds."""

    async def test(database: MysqlDatabase) -> None:
        (slot,) = database._pool._slots
        wire = slot.connection.wire
        asked = asyncio.create_task(database.fetch("echo", "x" * 4_000_000))
        while not asked.done():
            if not wire.closed and wire._reader._buffer:
                slot.connection.terminate()
            await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            asked.result()
        assert wire.closed
        assert await one(database, "echo", 2) == 2

    play(mysql_url, test, database_pool_size=1)


@pytest.mark.usefixtures("own_statements")
def test_those_who_wait_are_bounded(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        under_way = [asyncio.create_task(database.fetch("sleep", 0.5)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="Too many"):
            await database.fetch("echo", 1)
        await asyncio.gather(*under_way)
        assert await one(database, "echo", 1) == 1

    play(mysql_url, test, database_pool_size=1, database_queue_max=2)


@pytest.mark.usefixtures("own_statements")
def test_a_pool_has_so_many_connections(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        found = await asyncio.gather(
            *(one(database, statement) for statement in ["connection"] * 50)
        )
        assert len(set(found)) <= 3

    play(mysql_url, test, database_pool_size=3)


@pytest.mark.usefixtures("own_statements")
def test_a_killed_connection_is_replaced(mysql_url: str, mariadb_server: MariadbServer) -> None:
    async def test(database: MysqlDatabase) -> None:
        first = await one(database, "connection")
        mariadb_server.administer(f"KILL {first}")
        watcher = await mysql.connect(mysql_url)
        # Told by the server before the next statement: nobody notices.
        await asyncio.sleep(0.2)
        second = await one(database, "connection")
        assert second != first

        pending = asyncio.create_task(database.fetch("sleep", 30))

        async def runs() -> bool:
            return bool(await processes(watcher))

        await until(runs)
        mariadb_server.administer(f"KILL {second}")
        with pytest.raises(Unavailable):
            await pending
        assert await one(database, "echo", 1) == 1
        watcher.close()

    play(mysql_url, test, database_pool_size=1)


@pytest.mark.usefixtures("own_statements")
def test_a_server_that_dies_or_hangs_comes_back() -> None:
    with MariadbServer() as server:
        server.create_database("main")

        async def answers(database: MysqlDatabase) -> bool:
            try:
                return bool(await one(database, "echo", 1) == 1)
            except Unavailable:
                return False

        async def fails(database: MysqlDatabase) -> bool:
            return not await answers(database)

        async def test(database: MysqlDatabase) -> None:
            pending = asyncio.create_task(database.fetch("sleep", 30))
            await asyncio.sleep(0.2)
            server.kill()
            with pytest.raises(Unavailable):
                await pending
            assert not await answers(database)
            await asyncio.to_thread(server.start)
            assert await answers(database)

            server.process.send_signal(signal.SIGSTOP)
            try:
                # Its threads stop one after the other.
                await until(lambda: fails(database))
                found = await asyncio.gather(*(answers(database) for _ in range(4)))
                assert not any(found)
            finally:
                server.process.send_signal(signal.SIGCONT)
            await until(lambda: answers(database))

        play(server.url("main"), test, database_timeout_s=2)


def test_a_start_waits_for_a_server_that_is_still_starting() -> None:
    with MariadbServer() as server:
        url = migrate(server, "main")
        server.stop()

        async def test() -> None:
            with pytest.raises(Unavailable):
                await open_database(url, BOTH, Settings())
            opening = asyncio.create_task(open_database(url, BOTH, Settings(), wait_s=60))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.start)
            async with AsyncExitStack() as stack:
                database = await opening
                stack.push_async_callback(database.close)
                assert await database.fetch("ping")

        uvloop.run(test())


# Locks

CROSSING = """
CREATE TABLE crossing (id INT PRIMARY KEY, changes INT NOT NULL) ENGINE = InnoDB;
INSERT INTO crossing VALUES (1, 0), (2, 0);
CREATE PROCEDURE cross_over(p_first INT, p_second INT)
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    UPDATE crossing SET changes = changes + 1 WHERE id = p_first;
    DO SLEEP(0.05);
    UPDATE crossing SET changes = changes + 1 WHERE id = p_second;
    SELECT p_first AS first;
    COMMIT;
END;
"""


def deadlocks(server: MariadbServer) -> int:
    """How many there were."""
    return int(server.administer("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").split()[1])


def test_the_victim_of_a_deadlock_tries_again(
    mariadb_server: MariadbServer, own_statements: dict[str, str]
) -> None:
    url = new_database(mariadb_server)
    own_statements["cross_over"] = "CALL cross_over($1, $2)"
    own_statements["changes"] = "SELECT changes FROM crossing"

    async def prepare() -> None:
        connection = await mysql.connect(url)
        await mysql.query(connection, CROSSING)
        connection.close()

    async def test(database: MysqlDatabase) -> None:
        before = deadlocks(mariadb_server)
        rounds = 5
        for _ in range(rounds):
            await asyncio.gather(
                database.fetch("cross_over", 1, 2), database.fetch("cross_over", 2, 1)
            )
        assert deadlocks(mariadb_server) > before
        # Each once, in both rows: a victim had changed nothing.
        wanted = [(2 * rounds,), (2 * rounds,)]
        assert [tuple(row) for row in await database.fetch("changes")] == wanted

    uvloop.run(prepare())
    play(url, test)


def test_a_lock_that_is_not_let_go_is_not_waited_for_longer(mysql_url: str) -> None:
    async def test() -> None:
        database = await mysql.open_database(mysql_url, BOTH, Settings(database_timeout_s=2))
        (author,) = await database.fetch("user_create", *user("locked"))
        me = author["id"]
        holder = await mysql.connect(mysql_url)
        await mysql.query(holder, "START TRANSACTION")
        await mysql.query(holder, f"SELECT id FROM user WHERE id = {me} FOR UPDATE")
        with pytest.raises(Unavailable):
            await database.fetch("post_create", me, "x", "public", None, None)
        # Who only reads waits for nobody.
        assert await database.fetch("user_by_ids", [me])
        await mysql.query(holder, "COMMIT")
        holder.close()
        assert await database.fetch("post_wall", me, me, 2**53 - 1, 10) == []
        assert await database.fetch("post_create", me, "x", "public", None, None)
        await database.close()

    uvloop.run(test())


# The second of each finds the first one's event, which is committed but not told of yet: both
# waited for the same lock, the author's or the pair's.
AUTHOR = "SELECT id FROM user WHERE id = 1 FOR UPDATE"
PAIR = "SELECT state FROM friend WHERE user_id = 1 AND friend_id = 2 FOR UPDATE"
MEETING = {
    "two posts": (
        AUTHOR,
        ("post_create", 1, "One", "public", None, None),
        ("post_create", 1, "Two", "public", None, None),
    ),
    "a change and another": (
        AUTHOR,
        ("post_change", 1, 1, "One", None, None),
        ("post_change", 1, 1, "Two", None, None),
    ),
    "a change and the end": (
        AUTHOR,
        ("post_change", 1, 1, "One", None, None),
        ("post_remove", 1, 1, 0),
    ),
    "a friendship and its end": (PAIR, ("friend_put", 2, 1, 9), ("friend_delete", 1, 2)),
    "a request's end and another": (PAIR, ("friend_delete", 1, 2), ("friend_put", 2, 1, 9)),
}


@pytest.mark.parametrize("meeting", MEETING)
def test_an_event_knows_the_one_that_it_met(mariadb_server: MariadbServer, meeting: str) -> None:
    url = new_database(mariadb_server, TEMPLATE)
    lock, first, then = MEETING[meeting]

    async def waiting(count: int) -> bool:
        # InnoDB shows what it showed before to whoever asks again within 0.1 s.
        await asyncio.sleep(0.2)
        found = await asyncio.to_thread(
            mariadb_server.administer,
            "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
        )
        return int(found) == count

    async def test(database: MysqlDatabase) -> None:
        for name in ("one", "two"):
            await database.fetch("user_create", *user(name))
        await database.fetch("post_create", 1, "A post", "public", None, None)
        await database.fetch("friend_put", 1, 2, 9)
        holder = await mysql.connect(url)
        await mysql.query(holder, "DELETE FROM outbox")
        await mysql.query(holder, "START TRANSACTION")
        await mysql.query(holder, lock)
        answers = []
        for number, call in enumerate((first, then), 1):
            answers.append(asyncio.create_task(database.fetch(*call)))
            await until(partial(waiting, number))
        await mysql.query(holder, "COMMIT")
        holder.close()
        ((before,), (after,)) = await asyncio.gather(*answers)
        assert after["event_id"] > before["event_id"]
        assert after["after_ids"] == [before["event_id"]]
        assert before["after_ids"] is None
        if "friend" in meeting or "request" in meeting:
            assert after["version"] > before["version"]

    play(url, test, database_timeout_s=120)
