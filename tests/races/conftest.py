"""An API of two processes, so that what meets may meet in the database only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database

FRIENDS_MAX = 5


@pytest.fixture(scope="session")
def two_processes(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Api]:
    """The API, with a limit of friends that a test can reach."""
    settings = {
        **MANY_CONNECTIONS,
        "HLFAST_WORKERS": 2,
        "HLFAST_FRIENDS_MAX": FRIENDS_MAX,
        # What one process knows of a token must not outlive the change of it in the other.
        "HLFAST_REVOCATION_CHECK_S": 0,
        # Where Redis is late, on a busy machine, each process counts failed logins by itself.
        "HLFAST_REDIS_TIMEOUT_S": 20,
    }
    database = new_database(database_server, TEMPLATE)
    with Api(database, redis_server.url, **settings) as api:
        yield api
