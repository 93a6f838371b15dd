"""Tables that nobody else can write: requests that want to are under way until they are free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.sql import name_of
from hlfast.db.postgres import connect


@contextmanager
def locked(
    url: str, tables: str, mode: str = "SHARE ROW EXCLUSIVE"
) -> Iterator[Callable[[], None]]:
    """Lock them; what is given unlocks them, as does the block's end."""
    with asyncio.Runner() as runner:
        connection = runner.run(connect(url))
        runner.run(connection.execute(f"BEGIN; LOCK TABLE {tables} IN {mode} MODE"))
        try:
            yield lambda: runner.run(connection.execute("COMMIT"))
        finally:
            runner.run(connection.close())


def wait_for_waiting(server: PostgresServer, url: str, count: int) -> None:
    """Until so many statements of a database wait for a lock."""
    name = name_of(url)
    query = f"""SELECT count(*) FROM pg_stat_activity
                WHERE datname = '{name}' AND wait_event_type = 'Lock'"""
    try:
        wait_until(lambda: int(server.psql("postgres", "-c", query)) == count, "")
    except TimeoutError:
        columns = "state, wait_event_type, wait_event, left(query, 60)"
        seen = f"SELECT {columns} FROM pg_stat_activity WHERE datname = '{name}'"
        there = server.psql("postgres", "-c", seen)
        raise TimeoutError(f"not {count} statements wait for a lock:\n{there}") from None
