"""Fixtures: servers are started once, databases are made for each test that asks for one."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from hlfast.db import migrations, queries
from tests.clients import Client

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


DATABASES = {"postgres": "postgres_server", "mysql": "mariadb_server"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What asks for a database runs on each of them, unless it is marked `one_database`.

    As a parameter of the session it puts all that runs on one before all that runs on the other,
    so that whatever is started on a database is started once.
    """
    if "database_server" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("one_database")
        names = list(DATABASES)[:1] if one else list(DATABASES)
        metafunc.parametrize("database_server", names, indirect=True, scope="session")


def migrate(server: SqlServer, name: str) -> str:
    """Make a database with the tables of both; its DSN."""
    server.create_database(name)
    for database in (queries.MAIN, queries.DIALOGS):
        asyncio.run(migrations.apply(server.url(name), database))
    return server.url(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL; its database `migrated` has the tables and stays empty."""
    with PostgresServer() as server:
        migrate(server, TEMPLATE)
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """One MariaDB; its database `migrated` has the tables and stays empty."""
    with MariadbServer() as server:
        migrate(server, TEMPLATE)
        yield server


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> SqlServer:
    """Each server in turn."""
    server: SqlServer = request.getfixturevalue(DATABASES[request.param])
    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis."""
    with RedisServer() as server:
        yield server


def new_database(server: SqlServer, template: str = "") -> str:
    """The DSN of a fresh database."""
    name = f"test_{next(_numbers)}"
    server.create_database(name, template)
    return server.url(name)


@pytest.fixture
def database_url(database_server: SqlServer) -> str:
    """A fresh database without tables."""
    return new_database(database_server)


@pytest.fixture
def migrated_database_url(database_server: SqlServer) -> str:
    """A fresh database with the tables."""
    return new_database(database_server, TEMPLATE)


@pytest.fixture(scope="session")
def api(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Api]:
    """One API with its own database, shared: tests take users of their own."""
    with Api(new_database(database_server, TEMPLATE), redis_server.url) as server:
        yield server


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    """Somebody without a token; `client.user()` is somebody with one."""
    with Client(api.url) as somebody:
        yield somebody
