"""Bring a database to the newest schema, whoever else does so at the same time."""

from __future__ import annotations

from hlfast.db import queries
from hlfast.db.postgres import connect
from hlfast.settings import Settings

# Any constant will do, below the range of the pairs of users (they are locked by
# their positive dialog id).
_LOCK = -0x686C66617374

LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
RECORD = "INSERT INTO migration (name, checksum) VALUES ($1, $2)"


class MigrationChanged(Exception):
    """A migration that was applied has another text now."""


async def apply(url: str, database: str) -> list[str]:
    """Apply what is missing of `main` or `dialogs`; the names of what was applied.

    One starter at a time (a lock in the database), each migration in its own transaction, all
    or nothing. Raises MigrationChanged, and errors.Unavailable when the database does not answer.
    """
    applied: list[str] = []
    connection = await connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(LEDGER)
        known = dict(await connection.fetch("SELECT name, checksum FROM migration"))
        for migration in queries.migrations("postgres", database):
            if migration.name in known:
                if known[migration.name] != migration.checksum:
                    raise MigrationChanged(
                        f"{migration.name} was applied with another text: "
                        "a migration is never edited, only followed by another one"
                    )
                continue
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(RECORD, migration.name, migration.checksum)
            applied.append(migration.name)
    finally:
        await connection.close()
    return applied


async def apply_all(settings: Settings) -> list[str]:
    """Both databases, which may be one; the names of what was applied."""
    return [
        *await apply(settings.database_url, queries.MAIN),
        *await apply(settings.dialogs_url, queries.DIALOGS),
    ]
