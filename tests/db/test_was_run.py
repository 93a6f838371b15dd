"""Of a statement that failed the adapter says whether it may have been run.

Where the dialogs are on several hosts, only what was not run goes to the next one without a
`client_id`: else the message would be there twice.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import START_S
from hl_utils.servers.sql import name_of
from hlfast.db import queries
from hlfast.db.postgres import open_database
from hlfast.errors import Unavailable
from hlfast.settings import Settings
from tests.conftest import TEMPLATE, new_database
from tests.events.brokers import in_a_loop

# Whoever waits for a lock is cut off.
_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@in_a_loop
async def test_only_what_was_under_way_may_have_been_run(postgres_server: PostgresServer) -> None:
    url = new_database(postgres_server, TEMPLATE)
    settings = Settings(database_url=url, database_pool_size=1)
    database = await open_database(url, (queries.MAIN, queries.DIALOGS), settings)
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE lease")
            under_way = asyncio.create_task(database.fetch("lease_take", "a", "b", 1.0))
            async with asyncio.timeout(START_S):
                while not await other.fetchval(_CUT):
                    await asyncio.sleep(0.01)
            with pytest.raises(Unavailable) as cut:
                await under_way
        assert cut.value.was_run

        closed = f'ALTER DATABASE "{name_of(url)}" ALLOW_CONNECTIONS false'
        await asyncio.to_thread(postgres_server.psql, "postgres", "-c", closed)
        with pytest.raises(Unavailable) as refused:
            await database.fetch("lease_take", "a", "b", 1.0)
        assert not refused.value.was_run
    finally:
        await other.close()
        database.terminate()
