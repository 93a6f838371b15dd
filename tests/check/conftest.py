"""Servers with nothing wrong, and the environment that names them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import LogRedisServer
from tests.check.command import random_secret
from tests.conftest import TEMPLATE, new_database


@pytest.fixture(scope="session")
def log_redis() -> Iterator[LogRedisServer]:
    """One Redis as the event log needs it."""
    with LogRedisServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A fresh database with the tables."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="session")
def shared_url(postgres_server: PostgresServer) -> str:
    """A database with the tables, which no test changes."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture
def sound(shared_url: str, log_redis: LogRedisServer) -> dict[str, str]:
    """An environment in which nothing is wrong."""
    return {
        "DATABASE_URL": shared_url,
        "REDIS_URL": log_redis.url,
        "HLFAST_SECRET": random_secret(),
        "HLFAST_HOME": "/nowhere",
        # A machine that runs tests may allow few open files.
        "HLFAST_CONNECTIONS_MAX": "500",
        "HLFAST_WS_CONNECTIONS_MAX": "500",
        "HLFAST_WS_DISMISSED_MAX": "1",
    }
