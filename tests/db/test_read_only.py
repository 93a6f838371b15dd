"""A server that only reads, as one does that was demoted: every connection to it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.sql import SqlServer, name_of
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.errors import Unavailable
from hlfast.settings import Settings
from tests.events.brokers import in_a_loop, until_available

POOL = 4
# Sessions that begin now only read, to their end; and those that there are end. Then sessions that
# begin write again.
READ_ONLY = {
    "postgresql": (
        'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        'ALTER DATABASE "{name}" RESET default_transaction_read_only',
    ),
    "mysql": (
        "SET GLOBAL TRANSACTION READ ONLY",
        "KILL USER hlfast",
        "SET GLOBAL TRANSACTION READ WRITE",
    ),
}


@in_a_loop
async def test_every_connection_is_made_anew(
    database_server: SqlServer, migrated_database_url: str
) -> None:
    url = migrated_database_url
    texts = READ_ONLY[url.partition(":")[0]]
    begin, kill, end = (text.format(name=name_of(url)) for text in texts)

    async def administer(text: str) -> None:
        if isinstance(database_server, MariadbServer):
            await asyncio.to_thread(database_server.administer, text)
        else:
            await asyncio.to_thread(database_server.psql, "postgres", "-c", text)

    settings = Settings(database_url=url, database_pool_size=POOL, database_timeout_s=10.0)
    database = await open_database(url, (queries.MAIN, queries.DIALOGS), settings)

    def take(name: str) -> Any:
        return database.fetch_row("lease_take", name, "holder", 3600.0)

    def all_at_once(asked: Callable[[int], Any]) -> Any:
        return asyncio.gather(*(asked(n) for n in range(2 * POOL)))

    try:
        await administer(begin)
        try:
            await administer(kill)
            # By then each is a new one, and only reads.
            await until_available(lambda: all_at_once(lambda _: database.fetch_row("ping")))
        finally:
            await administer(end)
        with pytest.raises(Unavailable):
            await take("first")
        assert all(await all_at_once(lambda n: take(f"one of {n}")))
    finally:
        await database.close()
