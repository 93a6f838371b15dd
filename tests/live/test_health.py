"""A node says how it is: whether events get into the log and out of it, and its database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import get, wait_until
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import Node
from tests.conftest import TEMPLATE, new_database
from tests.events.test_failover import demote, promote
from tests.live.conftest import NODE

pytestmark = pytest.mark.one_database
OK, LOST = "ok", "unavailable"


def health(node: Node, name: str) -> tuple[int, Any]:
    """Status and body of one of /health/*."""
    status, body = get(node.port, f"/health/{name}")
    return status, json.loads(body)


def test_a_log_that_takes_no_events(postgres_server: PostgresServer) -> None:
    url = new_database(postgres_server, TEMPLATE)
    with LogRedisServer() as redis, Node(url, redis.url, **NODE) as node:

        def comes_to(ready: tuple[int, Any], dependencies: tuple[int, Any]) -> None:
            wait_until(lambda: health(node, "dependencies") == dependencies, "it is not noticed")
            assert health(node, "ready") == ready
            fails = float(dependencies[0] == 503)
            assert f"\nhlfast_ws_events_log_fails {fails}\n" in get(node.port, "/metrics")[1]

        well = (200, {"status": OK}), (200, {"database": OK, "events": OK})
        degraded = (200, {"status": "degraded"}), (503, {"database": OK, "events": LOST})
        comes_to(*well)
        asyncio.run(demote(redis))
        comes_to(*degraded)
        asyncio.run(promote(redis))
        comes_to(*well)
        redis.stop()
        comes_to(*degraded)
        redis.start()
        comes_to(*well)
        assert node.log.count("The event log takes no events") == 2
        assert node.log.count("ReadOnlyError") >= 1
        assert "Traceback" not in node.log
