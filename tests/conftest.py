"""Fixtures: servers are started once, databases are made for each test that asks for one."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from hlfast.db import migrations, queries
from tests.clients import Client
from tests.servers import Api, PostgresServer, RedisServer

# Whoever ends the run with SIGTERM (`timeout`) leaves no server behind either.
signal.signal(signal.SIGTERM, signal.default_int_handler)

_numbers = itertools.count(1)
TEMPLATE = "migrated"

# The same examples each time, few, and reported as found: making them smaller can take minutes.
# `--hypothesis-profile=long` searches on, anew each time, and does.
settings.register_profile(
    "short",
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("long", max_examples=2000, stateful_step_count=60, deadline=None)
settings.load_profile("short")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL; its database `migrated` has the tables and stays empty."""
    with PostgresServer() as server:
        server.psql("postgres", "-c", f"CREATE DATABASE {TEMPLATE}")
        for database in (queries.MAIN, queries.DIALOGS):
            asyncio.run(migrations.apply(server.url(TEMPLATE), database))
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis."""
    with RedisServer() as server:
        yield server


def new_database(server: PostgresServer, template: str) -> str:
    """The DSN of a fresh database."""
    name = f"test_{next(_numbers)}"
    server.psql("postgres", "-c", f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.url(name)


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> str:
    """A fresh database without tables."""
    return new_database(postgres_server, "template0")


@pytest.fixture
def migrated_database_url(postgres_server: PostgresServer) -> str:
    """A fresh database with the tables."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="session")
def api(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Api]:
    """One API with its own database, shared: tests take users of their own."""
    with Api(new_database(postgres_server, TEMPLATE), redis_server.url) as server:
        yield server


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    """Somebody without a token; `client.user()` is somebody with one."""
    with Client(api.url) as somebody:
        yield somebody
