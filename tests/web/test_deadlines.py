"""Clients that keep the API waiting: each wait has an end, and none of them keeps others out."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.settings import Settings
from tests import wire
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.doors import SILENT, answer, connect, until_closed
from tests.web.locks import locked, wait_for_waiting
from tests.web.test_metrics import scrape

pytestmark = pytest.mark.one_database

PLACES = 24
SETTINGS = {
    "HLFAST_CONNECTIONS_MAX": PLACES,
    "HLFAST_HEAD_TIMEOUT_S": 0.5,
    "HLFAST_BODY_TIMEOUT_S": 0.5,
    "HLFAST_ANSWER_TIMEOUT_S": 0.5,
    "HLFAST_DRAIN_TIMEOUT_S": 1,
    # A statement's deadline is not what is tested: on a crowded machine it came first.
    "HLFAST_DATABASE_TIMEOUT_S": 60,
}
LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n"
# One of several of this machine's: what another one does is not this one's fault.
ANOTHER_ADDRESS = "127.0.0.2"


@pytest.fixture(scope="module")
def database_url(postgres_server: PostgresServer) -> str:
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="module")
def hasty(database_url: str, redis_server: RedisServer) -> Iterator[Api]:
    """An API with few connections and little patience, but for connections that are idle."""
    with Api(database_url, redis_server.url, **SETTINGS) as api:
        yield api


def body_of(api: Api) -> bytes:
    """A request that stops after the first byte of its body."""
    with Client(api.url) as anybody:
        token = anybody.user().headers["authorization"]
    head = f"POST /api/v1/posts HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode()


def problem(received: bytes) -> tuple[str, object]:
    """Content type and status of the last answer."""
    head, _, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    found = json.loads(body)
    assert {"type", "title", "status", "detail", "instance", "request_id"} == found.keys()
    assert f"x-request-id: {found['request_id']}".encode() in head.lower()
    types = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-type:")]
    return types[0].partition(b": ")[2].decode(), found["status"]


TIMED_OUT = ("application/problem+json", 408)


@pytest.mark.parametrize("start", SILENT)
def test_a_request_that_does_not_come(hasty: Api, start: str) -> None:
    line = connect(hasty.url)
    line.sendall(SILENT[start])
    received = until_closed(line)
    if start in ("a byte", "half a head"):
        assert problem(received) == TIMED_OUT
    else:
        # Nothing was asked, or what is no HTTP/1.
        assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("before", [b"", LIVE])
def test_a_head_that_comes_byte_by_byte(hasty: Api, before: bytes) -> None:
    """As a connection's first request, and as a later one."""
    line = connect(hasty.url)
    if before:
        assert answer(line, before).startswith(b"HTTP/1.1 200 ")
    line.sendall(b"GET /")
    assert problem(until_closed(line, drip=b"a")) == TIMED_OUT


@pytest.mark.parametrize("drip", [b"", b" "])
def test_a_body_that_does_not_come(hasty: Api, drip: bytes) -> None:
    line = connect(hasty.url)
    line.sendall(body_of(hasty))
    assert problem(until_closed(line, drip)) == TIMED_OUT


def test_a_chunked_body_that_does_not_end(hasty: Api) -> None:
    line = connect(hasty.url)
    head = body_of(hasty).partition(b"Content-Length")[0]
    line.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    assert problem(until_closed(line, drip=b"1\r\n \r\n")) == TIMED_OUT


def cut(api: Api) -> float:
    """How many connections were ended so far."""
    return scrape(api)[1].get("hlfast_connections_cut_total", 0)


def test_an_answer_that_nobody_takes(hasty: Api) -> None:
    before = cut(hasty)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n" * 400
    line = connect(hasty.url, receive_buffer=4096)
    line.sendall(asked)
    wait_until(lambda: cut(hasty) > before, "nobody was cut")
    assert until_closed(line).count(b"HTTP/1.1 200 ") < 400


def test_an_idle_connection_stays(hasty: Api) -> None:
    """Longer than any proxy's in front, and than all that is waited for."""
    assert Settings.model_fields["idle_timeout_s"].default > 65
    idle = connect(hasty.url)
    assert answer(idle, LIVE).startswith(b"HTTP/1.1 200 ")
    for _ in range(2):
        # Each from after the last one's end, so that the idle one is idle for long.
        assert until_closed(connect(hasty.url)) == b""
    assert answer(idle, LIVE).startswith(b"HTTP/1.1 200 ")


def test_work_takes_as_long_as_it_takes(
    hasty: Api, postgres_server: PostgresServer, database_url: str
) -> None:
    """Longer than the clients' deadlines: they are not the server's."""
    with Client(hasty.url) as anybody, ThreadPoolExecutor(1) as threads:
        me = anybody.user()
        target = b"/api/v1/users/%d/posts" % me.id
        token = f"Authorization: {me.headers['authorization']}".encode()
        with locked(database_url, "post", "ACCESS EXCLUSIVE") as unlock:
            held = threads.submit(wire.get, hasty.url, target, token)
            wait_for_waiting(postgres_server, database_url, 1)
            for _ in range(2):
                assert until_closed(connect(hasty.url)) == b""
            unlock()
            assert held.result().status == 200


@pytest.mark.parametrize("kind", [*SILENT, "a body"])
def test_those_who_wait_for_nothing_keep_nobody_out(hasty: Api, kind: str) -> None:
    start = body_of(hasty) if kind == "a body" else SILENT[kind]
    with ExitStack() as stack:
        for _ in range(2 * PLACES):
            stack.enter_context(connect(hasty.url)).sendall(start)
        assert wire.get(hasty.url, b"/health/live").status == 200


def test_an_address_has_its_share(hasty: Api) -> None:
    """While others wait: idle connections are closed, those of whoever has most."""
    with ExitStack() as stack:
        mine = stack.enter_context(connect(hasty.url))
        assert answer(mine, LIVE).startswith(b"HTTP/1.1 200 ")
        theirs: list[socket.socket] = []
        for _ in range(2 * PLACES):
            line = stack.enter_context(connect(hasty.url, ANOTHER_ADDRESS))
            assert answer(line, LIVE).startswith(b"HTTP/1.1 200 ")
            theirs.append(line)
        assert wire.get(hasty.url, b"/health/live").status == 200
        left = [line for line in theirs if answer(line, LIVE)]
        assert 0 < len(left) < PLACES
        assert answer(mine, LIVE).startswith(b"HTTP/1.1 200 ")


def test_what_is_asked_for_by_a_setting(database_url: str, redis_server: RedisServer) -> None:
    settings = SETTINGS | {"HLFAST_HTTP2": True, "HLFAST_IDLE_TIMEOUT_S": 1}
    with Api(database_url, redis_server.url, **settings) as api:
        line = connect(api.url)
        assert answer(line, LIVE).startswith(b"HTTP/1.1 200 ")
        assert until_closed(line) == b""
        # Whoever has not said yet which one it will be waits in vain, too.
        line = connect(api.url)
        line.sendall(b"PRI * HTTP/2.0")
        assert until_closed(line)[:9] in (b"", b"HTTP/1.1 ")
        # A frame of settings, length 0, is answered with one of the server's.
        preface = SILENT["a whole preface"] + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        assert answer(connect(api.url), preface)[3] == 4
