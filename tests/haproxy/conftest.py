"""An API and a node behind the front door, shared: tests take users of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from tests.conftest import TEMPLATE, new_database

LOGIN_FAILURES = 3


@dataclass
class House:
    """What is behind the door, and the door."""

    api: Api
    node: Node
    proxy: Proxy


@pytest.fixture(scope="module")
def house(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[House]:
    with ExitStack() as stack:
        servers = new_database(postgres_server, TEMPLATE), redis_server.url
        settings = {
            "HLFAST_TRUSTED_PROXIES": "127.0.0.1",
            "HLFAST_LOGIN_FAILURES_MAX": LOGIN_FAILURES,
            "HLFAST_BODY_TIMEOUT_S": 2,
            # Where Redis is late, on a busy machine, a process counts failures from nothing.
            "HLFAST_REDIS_TIMEOUT_S": 20,
        }
        api = stack.enter_context(Api(*servers, **settings))
        node = stack.enter_context(Node(*servers))
        proxy = stack.enter_context(Proxy([api.port], [node.port]))
        proxy.wait_until_up()
        yield House(api, node, proxy)
