"""A population into PostgreSQL: by COPY, or as a script for psql."""

from __future__ import annotations

from typing import BinaryIO

import asyncpg

from hl_utils.population.rows import Chunk, Ids, Plan, tables_of
from hlfast.db import migrations, queries
from hlfast.db.postgres import connect

# Closing waits for what the server is doing; after a failure it is not worth longer.
_CLOSE_S = 5.0


def _sequences(plan: Plan) -> dict[str, int]:
    """How many numbers of each sequence a plan needs."""
    return {
        "user_id_seq": plan.users,
        "post_id_seq": plan.posts,
        "friend_version_seq": plan.pairs_max,
    }


def _vacuum(database: str) -> str:
    quoted = [f'"{name}"' for name in tables_of(database)]
    return f"VACUUM (ANALYZE) {', '.join(quoted)}"


class PostgresTarget:
    """A population's way into PostgreSQL, over one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def check(self, database: str) -> None:
        """Raise an error for a missing table."""
        for name in tables_of(database):
            await self._connection.execute(f'SELECT FROM "{name}" LIMIT 0')

    async def reserve(self, plan: Plan) -> Ids:
        """Take numbers of the sequences."""
        async with self._connection.transaction():
            return Ids(*[await self._reserve(name, n) for name, n in _sequences(plan).items()])

    async def _reserve(self, sequence: str, count: int) -> int:
        """The first of so many consecutive numbers.

        ALTER SEQUENCE, which changes nothing here, keeps everybody else from the sequence until
        the transaction ends: without it, a registration between nextval and setval would get a
        number of ours.
        """
        if not count:
            return 0
        await self._connection.execute(f"ALTER SEQUENCE {sequence} INCREMENT BY 1")
        first: int = await self._connection.fetchval(f"SELECT nextval('{sequence}')")
        await self._connection.execute(f"SELECT setval('{sequence}', {first + count - 1})")
        return first

    async def begin(self) -> None:
        """Begin a transaction, which `commit` ends."""
        await self._connection.execute("BEGIN")

    async def copy(self, chunk: Chunk) -> None:
        """Write a chunk by COPY."""
        # As a view: bytes would be taken for the path of a file, and what is read from a file-like
        # object stays in memory until the next garbage collection (asyncpg 0.31).
        await self._connection.copy_to_table(
            chunk.table.name, columns=chunk.table.columns, source=memoryview(chunk.data)
        )

    async def execute(self, sql: str) -> None:
        """Run a statement of SQL."""
        await self._connection.execute(sql)

    async def commit(self) -> None:
        """End the transaction: the rows are there for good."""
        await self._connection.execute("COMMIT")

    async def tidy(self, database: str) -> None:
        """Vacuum and analyse, for the planner and for index-only scans."""
        await self._connection.execute(_vacuum(database))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close(timeout=_CLOSE_S)


async def open_target(url: str) -> PostgresTarget:
    """A connection to fill. Raises errors.Unavailable."""
    return PostgresTarget(await connect(url))


class PostgresScript:
    """A script for psql: the tables, the rows, the sequences; all in one transaction."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._setvals: list[str] = []

    def _write(self, *statements: str) -> None:
        for statement in statements:
            self._file.write(f"{statement.strip().rstrip(';')};\n\n".encode())

    async def begin(self, plan: Plan) -> Ids:
        """The tables, and the ledger by which `hlfast tables` knows of them."""
        self._file.write(b"\\set ON_ERROR_STOP on\n")
        self._write("SET client_encoding = 'UTF8'", "SET timezone = 'UTC'", "BEGIN")
        self._write(migrations.LEDGER)
        for database in (queries.MAIN, queries.DIALOGS):
            for migration in queries.migrations("postgres", database):
                self._write(
                    migration.sql,
                    "INSERT INTO migration (name, checksum) "  # noqa: S608
                    f"VALUES ('{migration.name}', '{migration.checksum}')",
                )
        self._setvals = [
            f"SELECT setval('{name}', {count})" for name, count in _sequences(plan).items() if count
        ]
        return Ids()

    async def copy(self, chunk: Chunk) -> None:
        """COPY with the rows in the script."""
        columns = ", ".join(chunk.table.columns)
        self._file.write(f'COPY "{chunk.table.name}" ({columns}) FROM stdin;\n'.encode())
        self._file.write(chunk.data)
        self._file.write(b"\\.\n\n")

    async def execute(self, sql: str) -> None:
        """Write a statement of SQL."""
        self._write(sql)

    async def finish(self) -> None:
        """The sequences go on after these rows."""
        self._write(*self._setvals, "COMMIT", _vacuum(queries.MAIN), _vacuum(queries.DIALOGS))
        self._file.flush()
