"""Clusters for the tests, on servers that the caller runs: Citus comes in no Python wheel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests.citus.clusters import Cluster, dsns, fresh
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database

_HERE = Path(__file__).parent
_NEEDED = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without servers: skipped, and the summary says what was not tested."""
    reason = (
        "NOT TESTED: Citus. Set CITUS_TEST_DSNS to the DSNs of four servers with Citus, "
        "the coordinator first, as a user who may create databases"
    )
    for item in items:
        if item.path.is_relative_to(_HERE) and len(dsns()) < _NEEDED:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def empty() -> Iterator[Cluster]:
    """Servers that do not know each other."""
    with fresh() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def dialogs() -> Iterator[Cluster]:
    """Dialogs on two workers, for tests that change no shards."""
    with fresh() as cluster:
        distribute(cluster)
        yield cluster


def distribute(cluster: Cluster) -> None:
    """Two workers join, then the dialogs are spread over them."""
    for worker in cluster.workers[:2]:
        cluster.shards("add", worker)
    cluster.shards("init")


@pytest.fixture(scope="session")
def main(postgres_server: PostgresServer) -> str:
    """Whose users have the dialogs: one for all APIs, as their ids must not mean others there."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="session")
def api(dialogs: Cluster, main: str, redis_server: RedisServer) -> Iterator[Api]:
    """An API whose dialogs are on Citus, and everything else is not."""
    with Api(main, redis_server.url, DIALOGS_DATABASE_URL=dialogs.url) as server:
        yield server


@pytest.fixture(scope="session")
def two_processes(dialogs: Cluster, main: str, redis_server: RedisServer) -> Iterator[Api]:
    """An API of two processes, so that requests may meet in the database only."""
    settings = {
        **MANY_CONNECTIONS,
        "DIALOGS_DATABASE_URL": dialogs.url,
        "HLFAST_WORKERS": 2,
    }
    with Api(main, redis_server.url, **settings) as server:
        yield server
