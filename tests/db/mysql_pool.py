"""A pool on MySQL for a test to play with, and statements that only tests need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from hlfast.codec import search_key
from hlfast.db import mysql, queries
from hlfast.db.mysql import MysqlDatabase
from hlfast.settings import Settings

BOTH = (queries.MAIN, queries.DIALOGS)
STATEMENTS = {
    "echo": "SELECT $1 AS echo",
    "echo_bytes": "SELECT HEX($1) AS echo",
    "sleep": "SELECT SLEEP($1) AS slept",
    "twice": "SELECT $2 AS b, $1 AS a, $2 AS c",
    "tenth": "SELECT $10, $1, $2, $3, $4, $5, $6, $7, $8, $9",
    "among": "SELECT $1 IN ($2) AS found",
    "types": "SELECT TRUE AS `read`, NULL AS disabled, 5 AS n, DATE '0001-01-01' AS d, "
    "TIMESTAMP '2026-01-02 03:04:05' AS t, TIMESTAMP '2026-01-02 03:04:05.000006' AS t6, "
    "'[1,9007199254740991]' AS after_ids, NULL AS after_users, 'x' AS s, NULL AS nothing",
    "connection": "SELECT CONNECTION_ID() AS id",
    "session": "SELECT @@sql_mode AS mode, @@time_zone AS zone, "
    "@@collation_connection AS collation, @@tx_isolation AS isolation, @@autocommit AS autocommit",
}

Test = Callable[[MysqlDatabase], Awaitable[None]]


def play(url: str, test: Test, **settings: Any) -> None:
    """Run a test with a pool, on the service's event loop."""

    async def run() -> None:
        bounds = Settings(**{"database_pool_size": 2, **settings})
        database = await mysql.open_database(url, BOTH, bounds)
        try:
            await test(database)
        finally:
            await database.close()

    uvloop.run(run())


async def one(database: MysqlDatabase, statement: str, *args: Any) -> Any:
    """The first column of the only row."""
    ((value,),) = await database.fetch(statement, *args)
    return value


def user(name: str, first_name: str = "A", first_key: str | None = None) -> tuple[Any, ...]:
    """The arguments of user_create."""
    key = search_key(first_name) if first_key is None else first_key
    return (name, name, "hash", first_name, "B", key, "b", None, None, None, None)
