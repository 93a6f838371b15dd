"""Every test of the log runs on RabbitMQ and on Redis, each started once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import LogRedisServer
from tests.events.brokers import Broker, RabbitBroker, RedisBroker


@pytest.fixture(scope="session")
def log_redis_server() -> Iterator[LogRedisServer]:
    """One Redis of the log's own."""
    with LogRedisServer() as server:
        yield server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A log of the test's own, on either server, which runs again afterwards."""
    if request.param == "redis":
        broker: Broker = RedisBroker(request.getfixturevalue("log_redis_server"))
    else:
        broker = RabbitBroker(request.getfixturevalue("rabbit_server"))
    yield broker
    broker.server.process.send_signal(signal.SIGCONT)
    if broker.server.process.poll() is not None:
        broker.server.start()


@pytest.fixture
def redis_broker(log_redis_server: LogRedisServer) -> RedisBroker:
    """For what only Redis does."""
    return RedisBroker(log_redis_server)


@pytest.fixture
def rabbit_broker(rabbit_server: RabbitServer) -> RabbitBroker:
    """For what only RabbitMQ does."""
    return RabbitBroker(rabbit_server)
