"""Connections that wait for work hold nothing in the database."""

from __future__ import annotations

import asyncio

import pytest

from hl_utils.servers.postgres import PostgresServer
from hlfast.db import queries
from hlfast.db.postgres import open_database
from hlfast.settings import Settings


@pytest.mark.one_database
def test_no_transaction_is_left_open(
    postgres_server: PostgresServer, migrated_database_url: str
) -> None:
    """Else a migration would wait for every process that is idle, and vacuum would, too."""
    name = migrated_database_url.partition("?")[0].rpartition("/")[2]
    query = f"""SELECT state, xact_start IS NULL, count(*) FROM pg_stat_activity
                WHERE datname = '{name}' AND pid <> pg_backend_pid() GROUP BY 1, 2"""

    async def look() -> str:
        settings = Settings(database_pool_size=3)
        database = await open_database(
            migrated_database_url, (queries.MAIN, queries.DIALOGS), settings
        )
        try:
            return await asyncio.to_thread(postgres_server.psql, "postgres", "-c", query)
        finally:
            await database.close()

    assert asyncio.run(look()).split() == ["idle|t|3"]
