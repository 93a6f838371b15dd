"""Messages as one statement: each as if it had been sent alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomysql
import asyncpg
import pytest

from hl_utils.servers.sql import SqlServer
from hlfast.db import mysql, postgres, queries
from hlfast.db.mysql_text import Statement
from hlfast.db.open import open_database
from hlfast.dialogs.dialog_ids import dialog_id, peer
from hlfast.dialogs.send_batch import SendBatch
from hlfast.errors import Unavailable
from hlfast.settings import Settings, Tuning
from tests.conftest import TEMPLATE, new_database

ME = 1
DIALOGS = [dialog_id(ME, other) for other in range(2, 8)]
COLUMNS = [
    "outcome",
    "id",
    "from_user_id",
    "content",
    "client_id",
    "read",
    "event_id",
    "previous_id",
]


# Nobody else may use the dialogs, and then they may again.
LOCK = {"postgres": "BEGIN; LOCK TABLE dialog", "mysql": "LOCK TABLES dialog WRITE"}
UNLOCK = {"postgres": "COMMIT", "mysql": "UNLOCK TABLES"}
REFUSED = (asyncpg.CheckViolationError, aiomysql.OperationalError)


class Sql:
    """A connection of the test's own, to either database."""

    def __init__(self, connection: Any, dialect: str) -> None:
        self.connection = connection
        self.dialect = dialect

    async def fetch(self, text: str, *args: int) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        if self.dialect == "postgres":
            found = await self.connection.fetch(text, *args)
        else:
            found = await mysql.query(self.connection, Statement(text).with_arguments(args))
        return [tuple(row) for row in found]

    async def execute(self, text: str) -> None:
        """Run a statement; several with PostgreSQL."""
        if self.dialect == "postgres":
            await self.connection.execute(text)
        else:
            await mysql.query(self.connection, text)

    async def close(self) -> None:
        """Close the connection to the database, which asyncpg waits for and aiomysql does not."""
        closing = self.connection.close()
        if self.dialect == "postgres":
            await closing


class Post:
    """A sender on a database, the messages that it sent, and a connection of the test's own."""

    def __init__(self, sender: SendBatch[Any], sent: list[tuple[int, int, int]], sql: Sql) -> None:
        self.sender = sender
        self.sent = sent
        self.sql = sql

    async def begin(self) -> None:
        """Every dialog is there, with one message in it."""
        for dialog in DIALOGS:
            to = peer(dialog, ME)
            await self.sender.send_alone(dialog, ME, to, "first", "first", create=True)
        self.sent.clear()
        await self.sql.execute("DELETE FROM messageoutbox")

    async def send_one(self, dialog: int, me: int, content: str, client_id: str | None) -> Any:
        """Send a message to the other one of the dialog."""
        return await self.sender.send(dialog, me, peer(dialog, me), content, client_id)

    async def send(self, *messages: tuple[int, int, str, str | None]) -> list[Any]:
        """Send all messages at once."""
        return list(await asyncio.gather(*(self.send_one(*message) for message in messages)))

    async def ids(self, dialog: int) -> list[int]:
        """The ids of a dialog's messages."""
        found = await self.sql.fetch(
            "SELECT id FROM message WHERE dialog_id = $1 ORDER BY id", dialog
        )
        return [row[0] for row in found]


@asynccontextmanager
async def post(server: SqlServer, *, timeout_s: float = 60, **settings: Any) -> AsyncIterator[Post]:
    """On a fresh database with the tables."""
    url = new_database(server, TEMPLATE)
    found = Settings(
        database_url=url, database_pool_size=4, database_timeout_s=timeout_s, **settings
    )
    database = await open_database(url, (queries.DIALOGS,), found)
    dialect = queries.dialect_of(url)
    adapter = {"postgres": postgres, "mysql": mysql}[dialect]
    sql = Sql(await adapter.connect(url), dialect)
    sent: list[tuple[int, int, int]] = []

    def answered(dialog: int, me: int, to: int, row: Any) -> Any:
        if row["outcome"] == "sent":
            sent.append((dialog, me, row["id"]))
        return row

    sender = SendBatch(database, answered, found, shared=found.tuning.batch_sends)
    try:
        one = Post(sender, sent, sql)
        await one.begin()
        yield one
    finally:
        await sql.close()
        await database.close()


def test_each_is_what_it_would_be_alone(database_server: SqlServer) -> None:
    a, b, c, d, e, _ = DIALOGS
    new = dialog_id(ME, 99)
    messages = [
        (a, ME, "new", None),
        (b, 3, "other side", "x"),
        (c, ME, "again", "first"),
        (new, ME, "nowhere", "x"),
        # Somebody else's client_id is another one.
        (d, 5, "not mine", "first"),
        (e, ME, "twice", "y"),
        (e, ME, "twice, with other words", "y"),
        (e, ME, "after them", None),
    ]

    async def run(**settings: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        async with post(database_server, **settings) as one:
            rows = await one.send(*messages)
            shown = [[row and row[column] for column in COLUMNS] for row in rows]
            dialogs = await one.sql.fetch(
                "SELECT dialog_id, last_message_id, last_event_id, low_unread, high_unread"
                " FROM dialog ORDER BY 1"
            )
            events = await one.sql.fetch(
                "SELECT dialog_id, id, kind, user_id, message_id FROM messageoutbox ORDER BY 1, 2"
            )
            return shown, dialogs, events, one.sent

    joined = asyncio.run(run())
    alone = asyncio.run(run(tuning=Tuning(batch_sends=False)))
    shown, dialogs, events, sent = joined
    assert [row[0] for row in shown] == [
        "sent", "sent", "repeated", None, "sent", "sent", "repeated", "sent",
    ]  # fmt: skip
    assert [row[1] for row in shown] == [2, 2, 1, None, 2, 2, 2, 3]
    assert shown[2][3] == "first"
    assert shown[6][3] == "twice"
    # The event before it waits in the outbox still.
    assert shown[7][-1] == shown[5][-2]
    assert sorted(sent) == sorted(
        (dialog, me, row[1])
        for (dialog, me, _, _), row in zip(messages, shown, strict=True)
        if row[0] == "sent"
    )
    # Alone, those of one dialog come in any order; and there is nothing else to tell apart.
    assert dialogs == alone[1]
    assert events == alone[2]
    assert shown[:5] == alone[0][:5]


def test_a_dialog_locked_from_elsewhere_delays_itself_alone(
    database_server: SqlServer,
) -> None:
    async def run() -> None:
        async with post(database_server, sends_batches_max=1) as one:
            busy, *others = DIALOGS
            await one.sql.execute("BEGIN")
            await one.sql.fetch("SELECT 1 FROM dialog WHERE dialog_id = $1 FOR UPDATE", busy)
            waiting = asyncio.create_task(one.send_one(busy, ME, "x", None))
            for _ in range(3):
                await one.send(*((dialog, ME, "x", None) for dialog in others))
            # Behind it in the same dialog, too.
            behind = asyncio.create_task(one.send_one(busy, ME, "y", None))
            await one.send(*((dialog, ME, "x", None) for dialog in others))
            assert not waiting.done()
            assert not behind.done()
            await one.sql.execute("COMMIT")
            assert {(await waiting)["id"], (await behind)["id"]} == {2, 3}
            assert await one.ids(busy) == [1, 2, 3]
            assert await one.ids(others[0]) == [1, 2, 3, 4, 5]

    asyncio.run(run())


def test_a_client_that_goes_away_has_sent_all_the_same(database_server: SqlServer) -> None:
    async def run() -> None:
        async with post(database_server) as one:
            tasks = [asyncio.create_task(one.send_one(dialog, ME, "x", None)) for dialog in DIALOGS]
            # The batch goes out in the third turn; no answer is there before the next look.
            for _ in range(4):
                await asyncio.sleep(0)
            tasks[0].cancel()
            rows = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(rows[0], asyncio.CancelledError)
            assert [row["id"] for row in rows[1:]] == [2] * 5
            assert await one.ids(DIALOGS[0]) == [1, 2]
            assert sorted(one.sent) == sorted((dialog, ME, 2) for dialog in DIALOGS)

    asyncio.run(run())


def test_one_at_fault_fails_alone(
    database_server: SqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with post(database_server) as one:
            await one.sql.execute("ALTER TABLE message ADD CHECK (content <> 'no good')")
            texts = ["x", "no good", "y"]
            rows = await asyncio.gather(
                *(
                    one.send_one(dialog, ME, text, None)
                    for dialog, text in zip(DIALOGS, texts, strict=False)
                ),
                return_exceptions=True,
            )
            assert [rows[0]["id"], rows[2]["id"]] == [2, 2]
            assert isinstance(rows[1], REFUSED)
            assert [await one.ids(dialog) for dialog in DIALOGS[:3]] == [[1, 2], [1], [1, 2]]
            assert len(one.sent) == 2

    asyncio.run(run())
    assert "3 messages are sent one by one" in caplog.text


def test_a_database_that_does_not_answer_fails_everybody(
    database_server: SqlServer,
) -> None:
    async def run() -> None:
        async with post(database_server, timeout_s=0.5) as one:
            await one.sql.execute(LOCK[one.sql.dialect])
            rows = await asyncio.gather(
                *(one.send_one(dialog, ME, "x", None) for dialog in DIALOGS),
                return_exceptions=True,
            )
            await one.sql.execute(UNLOCK[one.sql.dialect])
            assert {type(row) for row in rows} == {Unavailable}
            again = await one.send(*((dialog, ME, "x", None) for dialog in DIALOGS))
            assert {row["id"] for row in again} == {2}
            assert len(one.sent) == len(DIALOGS)

    asyncio.run(run())
