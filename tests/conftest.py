"""Fixtures: servers are started once, databases are made for each test that asks for one."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import Phase, settings

from hl_utils.servers import rabbitmq
from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer, migrate
from tests import zygote
from tests.clients import Client
from tests.distribution import Progress, Units, is_quick, rank, unit

# Whoever ends the run with SIGTERM (`timeout`) leaves no server behind either.
signal.signal(signal.SIGTERM, signal.default_int_handler)

Api.popen = zygote.start
# Every connection has all statements parsed: of eight, that takes half of a start.
Api.usual = {"HLFAST_DATABASE_POOL_SIZE": 3}
# As many as an API has by itself: where many requests are to meet in the database.
MANY_CONNECTIONS = {"HLFAST_DATABASE_POOL_SIZE": 8}

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

# Where files lie in memory, and what there has to be of it: those of a whole run take 6 GiB.
_IN_MEMORY = Path("/dev/shm")
_FREE_MIN, _MEMORY_MIN = 8 << 30, 14 << 30


def pytest_configure() -> None:
    """Temporary files lie in memory where there is room for them, unless TMPDIR says otherwise.

    Hundreds of databases are made and removed: ext4 then looks long for an inode that was not
    freed a moment ago.
    """
    if "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK):
        return
    room = os.statvfs(_IN_MEMORY)
    runs_programs = not room.f_flag & os.ST_NOEXEC
    is_large = room.f_bavail * room.f_frsize >= _FREE_MIN
    if runs_programs and is_large and psutil.virtual_memory().available >= _MEMORY_MIN:
        # The processes of xdist inherit it. pytest has asked for the directory before.
        os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="style gates, units and the contract on PostgreSQL: no server but those from wheels",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    # The processes of xdist report to the one that was started, and print nothing.
    if reporter is not None and config.get_verbosity() <= 0 and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(reporter))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Units:
    return Units(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays, so no garbage is looked for among it, then or later.

    To look takes a third of the CPU in which a process reads all tests for the first time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one unit are neighbours; the units that take longest come first."""
    if config.getoption("quick"):
        left_out = [item for item in items if not is_quick(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_quick(item.nodeid)]
    if hasattr(config, "workerinput"):
        units = {name: n for n, name in enumerate(dict.fromkeys(unit(i.nodeid) for i in items))}
        items.sort(key=lambda item: (rank(item.nodeid), units[unit(item.nodeid)]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What asks for a database runs on each of them, unless it is marked `one_database`.

    As a parameter of the session it puts all that runs on one before all that runs on the other,
    so that whatever is started on a database is started once.
    """
    if "database_server" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("one_database")
        names = list(DATABASES)[:1] if one else list(DATABASES)
        metafunc.parametrize("database_server", names, indirect=True, scope="session")


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


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    """One RabbitMQ node."""
    if not rabbitmq.installed():
        pytest.fail("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
    with RabbitServer() as server:
        server.settle()
        yield server


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that the servers' user gets into: pytest's own it does not, under root."""
    path = Path(tempfile.mkdtemp(prefix="hlfast-up-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


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
def apis(redis_server: RedisServer) -> Iterator[Callable[[SqlServer], Api]]:
    """One API on each database server, which stays when tests go from one database to the other."""
    with ExitStack() as stack:

        @cache
        def on(server: SqlServer) -> Api:
            urls = new_database(server, TEMPLATE), redis_server.url
            return stack.enter_context(Api(*urls, **MANY_CONNECTIONS))

        yield on


@pytest.fixture(scope="session")
def api(database_server: SqlServer, apis: Callable[[SqlServer], Api]) -> Api:
    """One API with its own database, shared: tests take users of their own."""
    return apis(database_server)


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    """Somebody without a token; `client.user()` is somebody with one."""
    with Client(api.url) as somebody:
        yield somebody
