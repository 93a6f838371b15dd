"""A trace goes from the caller's header into the log lines of whoever had to do with it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from hlfast import trace
from tests import wire
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.nodes import Socket

TRACE_ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def field(
    version: str = "00", trace_id: str = TRACE_ID, parent: str = PARENT, end: str = "01"
) -> str:
    return f"{version}-{trace_id}-{parent}-{end}"


@pytest.mark.parametrize(
    ("value", "is_sampled"),
    [
        (field(), True),
        (field(end="00"), False),
        (field(end="03"), True),
        (field("01"), True),
        (field("fe", end="01-what will be"), True),
    ],
)
def test_a_trace_is_taken_up(value: str, is_sampled: bool) -> None:
    """With a span of our own."""
    found = trace.take_up(value.encode())
    assert found is not None
    assert (found.trace_id, found.is_sampled) == (TRACE_ID, is_sampled)
    assert re.fullmatch("[0-9a-f]{16}", found.span_id)
    assert found.span_id != PARENT


@pytest.mark.parametrize(
    "value",
    [
        "",
        field("ff"),
        field("0"),
        field(trace_id="0" * 32),
        field(trace_id=TRACE_ID.upper()),
        field(trace_id=TRACE_ID[:-1]),
        field(parent="0" * 16),
        field(end="1"),
        field(end="01-more"),
        field() + "\n",
        field() + " ",
    ],
)
def test_what_is_malformed_is_none(value: str) -> None:
    assert trace.take_up(value.encode()) is None


@given(st.binary() | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
def test_any_bytes_are_a_trace_or_none(value: bytes) -> None:
    found = trace.take_up(value)
    assert found is None or found.trace_id.encode() in value


@pytest.fixture(scope="module")
def servers(postgres_server: PostgresServer, redis_server: RedisServer) -> tuple[str, str]:
    return new_database(postgres_server, TEMPLATE), redis_server.url


@pytest.fixture(scope="module")
def api(servers: tuple[str, str]) -> Iterator[Api]:
    with Api(*servers, HLFAST_ACCESS_LOG=True, HLFAST_LOG_FORMAT="json") as found:
        yield found


def lines(of: Api, **fields: Any) -> list[dict[str, Any]]:
    """Those that it has written with these fields, each an object."""
    found = [json.loads(line) for line in of.log.splitlines()]
    return [line for line in found if fields.items() <= line.items()]


def test_a_request_is_a_line(api: Api) -> None:
    """That names it, and shows nothing that is nobody's business."""
    request_id = secrets.token_hex(8)
    with Client(api.url) as client:
        client.get("/users/me?secret=1", headers={"X-Request-ID": request_id})
    (line,) = wait_until(lambda: lines(api, request_id=request_id), "no line")
    assert (line["logger"], line["level"]) == ("hlfast.access", "info")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/users/me", 401)
    assert line["address"] == "127.0.0.1"
    assert line["duration_s"] > 0
    assert "trace_id" not in line
    assert "secret" not in api.log


def test_a_path_cannot_forge_a_line(api: Api) -> None:
    marker = secrets.token_hex(8)
    assert wire.get(api.url, f"/{marker}%0a%7B%22level%22:%22error%22%7D".encode()).status == 404
    (line,) = wait_until(lambda: [x for x in lines(api) if marker in x.get("path", "")], "no line")
    assert "\n" not in line["path"]


def test_a_trace_reaches_the_node_of_the_event(api: Api, servers: tuple[str, str]) -> None:
    """Each event has its own request's trace, or none, while many requests are under way."""
    node_settings = {"HLFAST_LOG_FORMAT": "json"}
    with Client(api.url) as client, Node(*servers, **node_settings) as node:
        reader, writer = client.user(), client.user()
        reader.befriend(writer)
        socket = Socket(node.ws_url, client.token(reader.username))
        ids = [secrets.token_hex(16) if n % 2 else "" for n in range(40)]

        def write(trace_id: str) -> None:
            headers = {"traceparent": field(trace_id=trace_id)} if trace_id else {}
            answer = writer.post(
                "/posts",
                json={"content": trace_id or "none", "privacy": "friends"},
                headers=headers,
            )
            assert answer.status_code == 201

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, ids))
        received = {}
        for _ in ids:
            frame = socket.next()
            assert "traceparent" not in frame
            received[frame["event_id"]] = frame["post"]["content"]
        socket.connection.close()
        traced = {event for event, content in received.items() if content != "none"}
        wait_until(lambda: len(lines(node, logger="hlfast.traced")) >= len(traced), "no lines")
        found = {x["event_id"]: x for x in lines(node, logger="hlfast.traced")}
    assert {event: found[event]["trace_id"] for event in found} == {e: received[e] for e in traced}
    asked = [line for line in lines(api) if line.get("path") == "/api/v1/posts"]
    assert sorted(line.get("trace_id", "") for line in asked) == sorted(ids)
    spans = {line["span_id"] for line in [*asked, *found.values()] if "span_id" in line}
    assert len(spans) == 2 * len(traced)
