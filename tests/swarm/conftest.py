"""The whole service behind its front door, shared: HAProxy, two APIs, two websocket nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database


@dataclass
class House:
    """What is behind the door, and the door."""

    apis: list[Api]
    nodes: list[Node]
    door: Proxy

    def served(self) -> dict[str, int]:
        """Requests and sockets that each server got."""
        rows = self.door.statistics().items()
        return {name: int(row["stot"]) for name, row in rows if row["svname"][-1].isdigit()}


@pytest.fixture(scope="module")
def house(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[House]:
    servers = new_database(postgres_server, TEMPLATE), redis_server.url
    with ExitStack() as stack:
        trust = {**MANY_CONNECTIONS, "HLFAST_TRUSTED_PROXIES": "127.0.0.1"}
        apis = [stack.enter_context(Api(*servers, **trust)) for _ in range(2)]
        nodes = [stack.enter_context(Node(*servers)) for _ in range(2)]
        ports = [api.port for api in apis], [node.port for node in nodes]
        door = stack.enter_context(Proxy(*ports))
        door.wait_until_up()
        yield House(apis, nodes, door)
