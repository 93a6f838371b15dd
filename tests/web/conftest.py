"""An API of several processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database


@pytest.fixture(scope="session")
def several(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Api]:
    """Two processes, with the laboratory, that look anew at users several times a second."""
    settings = {
        **MANY_CONNECTIONS,
        "HLFAST_WORKERS": 2,
        "HLFAST_REVOCATION_CHECK_S": 0.2,
        "HLFAST_ACCESS_LOG": True,
        "HLFAST_LAB": True,
        "HLFAST_DRAIN_TIMEOUT_S": 1,
    }
    database = new_database(database_server, TEMPLATE)
    with Api(database, redis_server.url, **settings) as api:
        yield api
