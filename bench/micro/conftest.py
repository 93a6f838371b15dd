"""What the microbenchmarks share: an event loop that lives as long as its connections."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import migrate
from hlfast.db import queries
from hlfast.db.postgres import PostgresDatabase, connect, open_database
from hlfast.settings import Settings

T = TypeVar("T")
USERS = 1000
_TEMPLATE = "migrated"
_numbers = itertools.count(1)
_FILL = """
INSERT INTO "user" (username, username_key, password_hash, first_name, last_name, first_key,
                    last_key, birthdate, bio, city, country)
SELECT 'user.' || n, 'user.' || n, '', 'Анна', 'Smith ' || n, 'анна', 'smith ' || n,
       '1990-05-17', 'Likes long walks and short queries.', 'Ḥeraklion', 'Ελλάδα'
FROM generate_series(1, {users}) AS n
"""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL; its database `migrated` has the tables and stays empty."""
    with PostgresServer() as server:
        migrate(server, _TEMPLATE)
        yield server


@pytest.fixture
def migrated_database_url(postgres_server: PostgresServer) -> str:
    """A fresh database with the tables."""
    name = f"bench_{next(_numbers)}"
    postgres_server.create_database(name, _TEMPLATE)
    return postgres_server.url(name)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """uvloop, as the service runs on."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def timed(
    benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop
) -> Callable[[Callable[[], Awaitable[T]]], T]:
    """Times a coroutine function to its end on the loop; gives its last result.

    What it takes to enter and leave the loop is part of the figure: see `test_empty_turn`.
    """

    def run(work: Callable[[], Awaitable[T]]) -> T:
        return benchmark(lambda: loop.run_until_complete(work()))

    return run


@pytest.fixture
def database(
    migrated_database_url: str, loop: asyncio.AbstractEventLoop
) -> Iterator[PostgresDatabase]:
    """The service's pool on a database of `USERS` users with ids from 1."""
    opened = loop.run_until_complete(_open(migrated_database_url))
    yield opened
    loop.run_until_complete(opened.close())


async def _open(url: str) -> PostgresDatabase:
    connection = await connect(url)
    await connection.execute(_FILL.format(users=USERS))
    await connection.execute('VACUUM ANALYZE "user"')
    await connection.close()
    return await open_database(url, (queries.MAIN, queries.DIALOGS), Settings())
