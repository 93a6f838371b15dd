"""RabbitMQ is stopped and started again: health knows it, the front door keeps everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import get, wait_until
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from tests.conftest import TEMPLATE, new_database

pytestmark = pytest.mark.one_database
OTHERS = {"database": "ok", "dialogs": "ok", "redis": "ok"}


class House(NamedTuple):
    """Everything that RabbitMQ has between it."""

    rabbitmq: RabbitServer
    api: Api
    node: Node
    proxy: Proxy

    def health(self, name: str) -> list[tuple[int, Any]]:
        """What API and node answer to /health/NAME."""
        answers = [get(server.port, f"/health/{name}") for server in (self.api, self.node)]
        return [(status, json.loads(body)) for status, body in answers]

    def comes_to(self, word: str) -> None:
        """Both know how the event log is, and stay in service."""
        status = 200 if word == "ok" else 503
        wanted = [
            (status, OTHERS | {"events": word}),
            (status, {"database": "ok", "events": word}),
        ]
        wait_until(lambda: self.health("dependencies") == wanted, f"events are not {word}")
        ready = (200, {"status": "ok" if word == "ok" else "degraded"})
        assert self.health("ready") == [ready, ready]
        assert {name: row["status"] for name, row in self.proxy.statistics().items()}.items() >= {
            ("api/api1", "UP"),
            ("websocket/ws1", "UP"),
        }


@pytest.fixture
def house(
    rabbit_server: RabbitServer, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[House]:
    with ExitStack() as stack:
        settings = {"EVENTS_URL": rabbit_server.url, "HLFAST_EVENTS_NAME": "stopped"}
        servers = new_database(postgres_server, TEMPLATE), redis_server.url
        api = stack.enter_context(Api(*servers, **settings))
        node = stack.enter_context(Node(*servers, **settings))
        proxy = stack.enter_context(Proxy([api.port], [node.port]))
        proxy.wait_until_up()
        yield House(rabbit_server, api, node, proxy)


def test_health_knows_and_nobody_is_taken_out(house: House) -> None:
    house.comes_to("ok")
    house.rabbitmq.stop()
    try:
        house.comes_to("unavailable")
    finally:
        house.rabbitmq.start()
    house.comes_to("ok")
    # A line says why, one for who follows and one for who listens, however often they tried.
    assert house.node.log.count("is lost, and looked for again: The event log hung up (Conn") == 2
    wait_until(lambda: house.node.log.count("is found again") == 2, "who listens is deaf")
    for log in (house.api.log, house.node.log):
        assert log.count("The event log takes no events") == 1
        assert "Traceback" not in log
        assert "Connection.Close" not in log and "transport" not in log
