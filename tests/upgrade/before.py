"""A database as release 0a7dc31 left it: its schema, its statements, and dialogs made by them.

A migration is never edited, so the schema is that of the first ones. `of_0a7dc31/` has that
release's statements of dialogs, as its processes say them for as long as they run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg
from pymysql.constants import ER

from hl_utils.servers.sql import Connection, SqlServer, connect, rows, skip_user_ids
from hlfast import codec
from hlfast.auth.passwords import hash_password
from hlfast.db import migrations, mysql, queries
from hlfast.dialogs.schemas import show
from hlfast.settings import Settings
from tests.clients import PASSWORD

_HERE = Path(__file__).parent / "of_0a7dc31"
# How many migrations there were.
MIGRATIONS = {
    ("postgres", queries.MAIN): 4,
    ("postgres", queries.DIALOGS): 3,
    ("mysql", queries.MAIN): 2,
    ("mysql", queries.DIALOGS): 1,
}
# After this many of the dialogs' migrations nothing is written, and everything still read.
REFUSING = {"postgres": 5, "mysql": 3}
STATEMENTS = {dialect: queries.named(_HERE / f"{dialect}.sql") for dialect in ("postgres", "mysql")}
USERS = range(1, 8)
END = 2**53 - 1
# Its numbers of errors that are a 503.
_UNAVAILABLE = {ER.QUERY_INTERRUPTED, 1836}


@contextmanager
def _only_the_first(counts: Mapping[tuple[str, str], int]) -> Iterator[None]:
    """As if there were no more migrations."""
    all_of = queries.migrations

    def first(dialect: str, database: str) -> list[queries.Migration]:
        return all_of(dialect, database)[: counts.get((dialect, database))]

    with mock.patch.object(queries, "migrations", first):
        yield


def migrate(url: str, *databases: str, dialogs: int | None = None) -> list[str]:
    """Bring a database to the schema of 0a7dc31, or to so many migrations of the dialogs."""
    dialect = queries.dialect_of(url)
    counts = dict(MIGRATIONS)
    if dialogs is not None:
        counts[dialect, queries.DIALOGS] = dialogs
    with _only_the_first(counts):
        return [
            name for database in databases for name in asyncio.run(migrations.apply(url, database))
        ]


def upgrade(url: str) -> list[str]:
    """Apply all migrations, as `hlfast tables` does; their names."""
    return [
        name
        for database in (queries.MAIN, queries.DIALOGS)
        for name in asyncio.run(migrations.apply(url, database))
    ]


def upgrade_dialogs(url: str) -> list[str]:
    """Apply the migrations of the dialogs, for a database of their own; their names."""
    return asyncio.run(migrations.apply(url, queries.DIALOGS))


def make(server: SqlServer, name: str) -> str:
    """A new database of that release, with users and dialogs; its DSN."""
    server.create_database(name)
    url = server.url(name)
    migrate(url, queries.MAIN, queries.DIALOGS)
    add_users(url)
    say(url)
    return url


def add_users(url: str) -> None:
    """USERS, whose password is PASSWORD."""
    settings = Settings(password_hash_memory_kib=256, password_hash_time=1)
    for user in USERS:
        rows(
            url,
            'INSERT INTO "user" (id, username, username_key, password_hash, first_name, last_name,'
            " first_key, last_key) VALUES ($1, $2, $2, $3, 'Of', 'Before', 'of', 'before')",
            *(user, f"user-of-before-{user}", hash_password(PASSWORD, settings)),
        )
    skip_user_ids(url, USERS[-1])


class Process:
    """What a process of that release says to the database of dialogs."""

    def __init__(self, connection: Connection, dialect: str) -> None:
        self._connection = connection
        self._statements = STATEMENTS[dialect]
        self._is_mysql = dialect == "mysql"

    async def ask(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of one of its statements."""
        return await self._connection.rows(self._statements[statement], *arguments)

    async def is_refused(self, statement: str, *arguments: Any) -> bool:
        """Whether it takes the error for a database that does not answer, which is a 503.

        What names an index of the outbox, in MySQL, fails because a view has none. It is said when
        an event was published, or waits for others: then the event stays for the sweep, too.
        """
        try:
            await self.ask(statement, *arguments)
        except asyncpg.OperatorInterventionError:
            return True
        except mysql.aiomysql.OperationalError as error:
            names_index = statement in ("dialogoutbox_are_there", "dialogoutbox_delete")
            return error.args[0] in _UNAVAILABLE or (
                names_index and error.args[0] == ER.KEY_DOES_NOT_EXITS
            )
        return False

    async def send(self, one: int, other: int, text: str, client_id: str | None = None) -> None:
        """As its service sends a message: the dialog is made if there is none."""
        for create in (False, True):
            arguments = (pair(one, other), one, text, client_id, create)
            ((outcome, *_),) = await self.ask("dialog_send", *arguments)
            if outcome != "absent":
                return

    async def read(self, me: int, other: int, up_to: int) -> None:
        """As its service marks messages."""
        await self.ask("dialog_read", pair(me, other), me, up_to)


def pair(one: int, other: int) -> int:
    """What the id of a dialog was."""
    return min(one, other) << 32 | max(one, other)


@contextmanager
def process(url: str) -> Iterator[tuple[asyncio.Runner, Process]]:
    """One, connected; what it does runs in the runner."""
    with asyncio.Runner() as runner:
        connection = runner.run(connect(url))
        try:
            yield runner, Process(connection, queries.dialect_of(url))
        finally:
            runner.run(connection.close())


def say(url: str) -> None:
    """Dialogs of every kind: read, half read, unread, of one message, with and without events."""

    async def work(one: Process) -> None:
        for number in range(1, 31):
            await one.send(1 + number % 2, 2 - number % 2, f"text {number} 👋", f"client-{number}")
        await one.read(1, 2, 30)
        await one.read(2, 1, 10)
        for other in USERS[2:]:
            for number in range(other):
                await one.send(other, 1, f"{other} says {number}", None)
        await one.read(1, 3, 2)
        await one.send(7, 6, "neighbours", "the first")
        # All but what a process had no time to publish.
        left = await one.ask("dialogoutbox_left", -1.0, 10_000)
        told = [row[:2] for row in left if row[0] != pair(1, 4)][:-3]
        for start in range(0, len(told), 20):
            await one.ask(
                "dialogoutbox_delete", *map(list, zip(*told[start : start + 20], strict=True))
            )

    with process(url) as (runner, one):
        runner.run(work(one))


@dataclass(frozen=True, slots=True)
class Seen:
    """What everybody saw: pages by (me, other), the list by me, events that wait, by their ids."""

    pages: Mapping[tuple[int, int], list[Any]]
    lists: Mapping[int, list[tuple[int, int, int]]]
    events: list[str]


_MESSAGE = ("id", "from_user_id", "content", "client_id", "created_at", "read")


def _shown(row: Sequence[Any], me: int, other: int) -> Any:
    values = dict(zip(_MESSAGE, row, strict=True))
    values["read"] = bool(values["read"])
    return codec.decode(codec.encode(show(values, me, other)))


def look(url: str) -> Seen:
    """By the statements of that release."""

    async def work(one: Process) -> Seen:
        pages = {}
        lists = {}
        for me in USERS:
            found = await one.ask("dialog_list", me, END, END, 100)
            lists[me] = [(_peer(row[0], me), int(row[1]), int(row[3])) for row in found]
            for other, _, _ in lists[me]:
                found = await one.ask("dialog_page_before", pair(me, other), END, 100)
                pages[me, other] = [_shown(row, me, other) for row in found]
        left = await one.ask("dialogoutbox_left", -1.0, 10_000)
        return Seen(pages, lists, [f"d{row[0]}-{row[1]}" for row in left])

    with process(url) as (runner, one):
        return runner.run(work(one))


def _peer(dialog: int, me: int) -> int:
    low, high = dialog >> 32, dialog & 0xFFFFFFFF
    return high if low == me else low
