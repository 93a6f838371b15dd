"""A population into MySQL or MariaDB: by LOAD DATA LOCAL INFILE, or as a script for mysql."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import aiomysql

from hl_utils.population.rows import USERS_END, Chunk, Ids, Plan, tables_of
from hlfast.db import migrations, queries
from hlfast.db.mysql import SESSION, connect
from hlfast.settings import SettingsError

# So that the counters of AUTO_INCREMENT are those of now: MySQL 8 would tell yesterday's.
# MariaDB, which has no such variable, takes this for a comment.
_COUNTERS_OF_NOW = "SET /*!80000 SESSION information_schema_stats_expiry = 0, */ @unused = 0"
_COUNTER = """
SELECT COALESCE(auto_increment, 1) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = %s
"""


def _numbers(plan: Plan) -> dict[str, int]:
    """How many of each table's AUTO_INCREMENT a plan needs. Friendships have ids of events."""
    return {"user": plan.users, "post": plan.posts, "outbox": plan.pairs_max}


def _analyze(database: str) -> str:
    return f"ANALYZE TABLE {', '.join(tables_of(database))}"


class MysqlTarget:
    """One connection, and the file that it is given row by row."""

    def __init__(self, connection: aiomysql.Connection) -> None:
        self._connection = connection
        # Only we can read it.
        self._directory = tempfile.TemporaryDirectory(prefix="hlfast-seed-")
        self._file = Path(self._directory.name) / "rows"

    async def _run(self, sql: str, *arguments: Any) -> tuple[int, Any]:
        """How many rows were changed, and the first row of the answer."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql, arguments or None)
            return cursor.rowcount, await cursor.fetchone()

    async def check(self, database: str) -> None:
        """Raise an error for a missing table."""
        for name in tables_of(database):
            await self._run(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608

    async def reserve(self, plan: Plan) -> Ids:
        """Take numbers from the counters of AUTO_INCREMENT."""
        await self._run(_COUNTERS_OF_NOW)
        return Ids(*[await self._reserve(table, n) for table, n in _numbers(plan).items()])

    async def _reserve(self, table: str, count: int) -> int:
        """The first of so many consecutive numbers, while nobody else gets any."""
        if not count:
            return 0
        await self._run(f"LOCK TABLES {table} WRITE")
        try:
            _, (first,) = await self._run(_COUNTER, table)
            if table == "user" and first + count > USERS_END:
                raise SettingsError(f"no {count:,} ids of users are left from {first:,} on")
            await self._run(f"ALTER TABLE {table} AUTO_INCREMENT = {first + count}")
        finally:
            await self._run("UNLOCK TABLES")
        return int(first)

    async def begin(self) -> None:
        """Begin a transaction, which lasts until `commit`."""
        await self._run("START TRANSACTION")

    async def copy(self, chunk: Chunk) -> None:
        """Load rows by LOAD DATA, twice as fast as INSERT.

        Raises aiomysql.DataError for rows left out.
        """
        await asyncio.to_thread(self._file.write_bytes, chunk.data)
        table, columns, _, _ = chunk.table
        rows, _ = await self._run(
            f"LOAD DATA LOCAL INFILE %s INTO TABLE {table} CHARACTER SET utf8mb4"
            f" ({', '.join(columns)})",
            str(self._file),
        )
        # What it cannot take as it is, it bends or leaves out, and only says so.
        _, warning = await self._run("SHOW WARNINGS LIMIT 1")
        if warning or rows != chunk.rows:
            raise aiomysql.DataError(f"{table} took {rows} of {chunk.rows} rows: {warning}")

    async def execute(self, sql: str) -> None:
        """Run a statement of SQL."""
        await self._run(sql)

    async def commit(self) -> None:
        """End the transaction: the rows are there for good."""
        await self._run("COMMIT")

    async def tidy(self, database: str) -> None:
        """Analyse the tables, for the planner."""
        await self._run(_analyze(database))

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._directory.cleanup()


async def open_target(url: str) -> MysqlTarget:
    """A connection to fill. Raises errors.Unavailable."""
    return MysqlTarget(await connect(url))


def _values(data: bytes) -> bytes:
    """Lines of COPY as rows of INSERT: their escapes are those of a string in MySQL."""
    quoted = data.removesuffix(b"\n").replace(b"'", rb"\'")
    fields = quoted.replace(b"\t", b"','").replace(b"\n", b"'),\n('")
    return b"('" + fields.replace(rb"'\N'", b"NULL") + b"')"


class MysqlScript:
    """A script for mysql or mariadb: the tables, and the rows in one transaction."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._events = 0

    def _write(self, *statements: str) -> None:
        for statement in statements:
            self._file.write(f"{statement.strip().rstrip(';')};\n\n".encode())

    async def begin(self, plan: Plan) -> Ids:
        """The tables, and the ledger by which `hlfast tables` knows of them."""
        self._events = plan.pairs_max
        self._write(SESSION, migrations.MYSQL_LEDGER)
        for database in (queries.MAIN, queries.DIALOGS):
            for migration in queries.migrations("mysql", database):
                # As one statement: the server finds the ends of those within.
                self._file.write(f"DELIMITER $$\n{migration.sql}$$\nDELIMITER ;\n\n".encode())
                self._write(
                    "INSERT INTO migration (name, checksum) "  # noqa: S608
                    f"VALUES ('{migration.name}', '{migration.checksum}')"
                )
        self._write("START TRANSACTION")
        return Ids()

    async def copy(self, chunk: Chunk) -> None:
        """Write a chunk as one INSERT."""
        table, columns, _, _ = chunk.table
        self._file.write(f"INSERT INTO {table} ({', '.join(columns)}) VALUES\n".encode())
        self._file.write(_values(chunk.data))
        self._file.write(b";\n\n")

    async def execute(self, sql: str) -> None:
        """Write a statement of SQL."""
        self._write(sql)

    async def finish(self) -> None:
        """The events go on after the versions of these rows; the other numbers do by themselves."""
        self._write("COMMIT")
        if self._events:
            self._write(f"ALTER TABLE outbox AUTO_INCREMENT = {self._events + 1}")
        self._write(_analyze(queries.MAIN), _analyze(queries.DIALOGS))
        self._file.flush()
