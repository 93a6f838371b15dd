"""Either kind of SQL server, and SQL in words that both take.

`"user"` is quoted so, `$1 … $n` stand for arguments, and rows are tuples.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import urlsplit

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hlfast.db import migrations, mysql, postgres, queries
from hlfast.db.mysql_text import Statement

SqlServer = PostgresServer | MariadbServer
# By dialect of SQL.
SERVERS: dict[str, type[SqlServer]] = {"postgres": PostgresServer, "mysql": MariadbServer}


def migrate(server: SqlServer, name: str) -> str:
    """Make a database with the tables of both; its DSN."""
    server.create_database(name)
    for database in (queries.MAIN, queries.DIALOGS):
        asyncio.run(migrations.apply(server.url(name), database))
    return server.url(name)


class Connection(Protocol):
    """One session, each statement its own transaction unless one was begun."""

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""

    async def close(self) -> None:
        """Close the connection."""


class PostgresConnection(Connection):
    """A connection to PostgreSQL, through asyncpg."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.fetch(sql, *arguments)]

    async def close(self) -> None:
        await self._connection.close()


class MysqlConnection(Connection):
    """A connection to MySQL or MariaDB, through aiomysql."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with self._connection.cursor() as cursor:
            await cursor.execute(Statement(sql).with_arguments(arguments))
            return list(await cursor.fetchall())

    async def close(self) -> None:
        self._connection.close()


async def connect(url: str) -> Connection:
    """A connection to whatever database the URL names."""
    if queries.dialect_of(url) == "postgres":
        return PostgresConnection(await postgres.connect(url))
    connection = MysqlConnection(await mysql.connect(url))
    await connection.rows("SET SESSION sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')")
    return connection


def rows(url: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement."""

    async def run() -> list[tuple[Any, ...]]:
        connection = await connect(url)
        try:
            return await connection.rows(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def value(url: str, sql: str, *arguments: Any) -> Any:
    """The first column of the first row."""
    return rows(url, sql, *arguments)[0][0]


def skip_user_ids(url: str, last: int) -> None:
    """The next user's id will be above `last`."""
    if queries.dialect_of(url) == "postgres":
        rows(url, "SELECT setval('user_id_seq', $1)", last)
    else:
        rows(url, f'ALTER TABLE "user" AUTO_INCREMENT = {last + 1}')


def name_of(url: str) -> str:
    """The database's name in its server."""
    return urlsplit(url).path.removeprefix("/")
