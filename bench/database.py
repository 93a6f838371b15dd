"""A database with our tables and a seeded population, for as long as a benchmark runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import SqlServer, connect
from hlfast.db import migrations, queries

# As wide as a small server would be set; durable, as everywhere.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
_MARIADB_SETTINGS = {"innodb_buffer_pool_size": "512M", "innodb_log_file_size": "2G"}


@contextmanager
def seeded(
    url: str | None, *, users: int, means: Mapping[str, float], dialect: str = "postgres"
) -> Iterator[str]:
    """The DSN of the database at `url`, or of one of our own in a server of that dialect.

    Seeded with `users` and, per user, the means of `friends`, `posts` and `dialogs`, if it has no
    users yet; the same population every time.
    """
    with ExitStack() as stack:
        if url is None:
            server: SqlServer = (
                PostgresServer(**SETTINGS)
                if dialect == "postgres"
                else MariadbServer(**_MARIADB_SETTINGS)
            )
            stack.enter_context(server)
            server.create_database("bench")
            url = server.url("bench")
        if asyncio.run(_make_tables(url)) == 0:
            amounts = [f"--{name}={value:g}" for name, value in means.items()]
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "hl_utils",
                    "seed",
                    f"--users={users}",
                    "--seed=1",
                    *amounts,
                ],
                check=True,
                env={**os.environ, "DATABASE_URL": url},
            )
        yield url


async def _make_tables(url: str) -> int:
    """How many users there are already."""
    for database in (queries.MAIN, queries.DIALOGS):
        await migrations.apply(url, database)
    connection = await connect(url)
    try:
        [(users,)] = await connection.rows('SELECT count(*) FROM "user"')
        return int(users)
    finally:
        await connection.close()
