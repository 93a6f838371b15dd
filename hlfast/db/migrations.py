"""Bring a database to the newest schema, whoever else does so at the same time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from hlfast.db import mysql, postgres, queries
from hlfast.db.mysql_text import Statement
from hlfast.settings import Settings

# Any constant will do, below the range of the pairs of users (they are locked by
# their positive dialog id).
_POSTGRES_LOCK = -0x686C66617374
# dialogs/0004 drops triggers of a table, if there are any. A table that Citus has spread has none,
# and may not even be asked; it may with this. To a server without Citus it means nothing.
_POSTGRES_SETTING = "SET citus.enable_unsafe_triggers = on"
# What MySQL has to drop and to make again MariaDB exchanges: who calls it meanwhile finds either.
_MADE_ANEW = re.compile(r"DROP (PROCEDURE|FUNCTION|TRIGGER) IF EXISTS (\w+);\s+CREATE \1 \2\b")
# Its locks are the whole server's.
_MYSQL_LOCK = "CONCAT('hlfast ', MD5(DATABASE()))"

LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
MYSQL_LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    name       VARCHAR(190) NOT NULL,
    checksum   CHAR(64)     NOT NULL,
    applied_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (name)
) ENGINE = InnoDB
"""


class MigrationChanged(Exception):
    """A migration that was applied has another text now."""


class _Target(Protocol):
    """A connection to the database, which one starter at a time works on."""

    async def known(self) -> Mapping[str, str]:
        """Name -> checksum of what was applied, after the others are through."""

    async def run(self, migration: queries.Migration) -> None:
        """Apply it and write it down."""

    async def close(self) -> None:
        """End the connection, and let the other starters go on."""


class _Postgres(_Target):
    """Each migration is a transaction: all or nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def known(self) -> Mapping[str, str]:
        await self._connection.execute("SELECT pg_advisory_lock($1)", _POSTGRES_LOCK)
        await self._connection.execute(_POSTGRES_SETTING)
        await self._connection.execute(LEDGER)
        return dict(await self._connection.fetch("SELECT name, checksum FROM migration"))

    async def run(self, migration: queries.Migration) -> None:
        record = "INSERT INTO migration (name, checksum) VALUES ($1, $2)"
        async with self._connection.transaction():
            await self._connection.execute(migration.sql)
            await self._connection.execute(record, migration.name, migration.checksum)

    async def close(self) -> None:
        await self._connection.close()


class _Mysql(_Target):
    """DDL commits by itself: one that failed halfway is run again, and is written for that."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def known(self) -> Mapping[str, str]:
        wait_s = 2**31 - 1
        await mysql.query(self._connection, f"SELECT GET_LOCK({_MYSQL_LOCK}, {wait_s})")
        await mysql.query(self._connection, MYSQL_LEDGER)
        found = await mysql.query(self._connection, "SELECT name, checksum FROM migration")
        return {row["name"]: row["checksum"] for row in found}

    async def run(self, migration: queries.Migration) -> None:
        sql = migration.sql
        if mysql.is_mariadb(self._connection):
            sql = _MADE_ANEW.sub(r"CREATE OR REPLACE \1 \2", sql)
        await mysql.query(self._connection, sql)
        record = Statement("INSERT INTO migration (name, checksum) VALUES ($1, $2)")
        arguments = (migration.name, migration.checksum)
        await mysql.query(self._connection, record.with_arguments(arguments))

    async def close(self) -> None:
        self._connection.close()


async def _connect(url: str) -> _Target:
    if queries.dialect_of(url) == "mysql":
        return _Mysql(await mysql.connect(url))
    return _Postgres(await postgres.connect(url))


async def apply(url: str, database: str) -> list[str]:
    """Apply what is missing of `main` or `dialogs`; the names of what was applied.

    One starter at a time (a lock in the database). Raises MigrationChanged, and
    errors.Unavailable when the database does not answer.
    """
    applied: list[str] = []
    target = await _connect(url)
    try:
        known = await target.known()
        for migration in queries.migrations(queries.dialect_of(url), database):
            if migration.name in known:
                if known[migration.name] != migration.checksum:
                    raise MigrationChanged(
                        f"{migration.name} was applied with another text: "
                        "a migration is never edited, only followed by another one"
                    )
                continue
            await target.run(migration)
            applied.append(migration.name)
    finally:
        await target.close()
    return applied


async def apply_all(settings: Settings) -> list[str]:
    """Both databases, which may be one; the names of what was applied."""
    return [
        *await apply(settings.database_url, queries.MAIN),
        *await apply(settings.dialogs_url, queries.DIALOGS),
    ]
