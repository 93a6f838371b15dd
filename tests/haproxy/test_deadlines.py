"""Clients that keep the front door waiting, and requests that meet a closing connection."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hl_utils.servers.haproxy import UNLIMITED, Proxy
from hl_utils.servers.process import START_S
from tests.clients import Client
from tests.doors import SILENT, answer, connect, until_closed
from tests.haproxy.conftest import House

LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(scope="module")
def hasty(house: House) -> Iterator[Proxy]:
    """A front door with little patience, but for connections that are idle."""
    settings = UNLIMITED | {"HLFAST_HAPROXY_REQUEST": "500ms"}
    with Proxy([house.api.port], [house.node.port], settings) as proxy:
        proxy.wait_until_up()
        yield proxy


@pytest.mark.parametrize("start", [start for start in SILENT if start != "a whole preface"])
def test_a_request_that_does_not_come(hasty: Proxy, start: str) -> None:
    line = connect(hasty.url)
    line.sendall(SILENT[start])
    received = until_closed(line)
    if start == "nothing":
        assert received == b""
    else:
        assert received.startswith(b"HTTP/1.1 408 ")


def test_a_head_that_comes_byte_by_byte(hasty: Proxy) -> None:
    line = connect(hasty.url)
    assert answer(line, LIVE).startswith(b"HTTP/1.1 200 ")
    line.sendall(b"GET /")
    assert until_closed(line, drip=b"a").startswith(b"HTTP/1.1 408 ")


# Of the second HAProxy takes as much as it can keep; then it is the API that waits for the rest.
@pytest.mark.parametrize("sent", [1, 30_000])
def test_a_body_that_comes_byte_by_byte(hasty: Proxy, sent: int) -> None:
    with Client(hasty.url) as anybody:
        token = anybody.user().headers["authorization"]
    head = f"POST /api/v1/posts HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n"
    line = connect(hasty.url)
    line.sendall(f"{head}X-Request-ID: mine\r\nContent-Length: 60000\r\n\r\n".encode())
    line.sendall(b"{" + b" " * (sent - 1))
    head, _, body = until_closed(line, drip=b" ").decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 408 ")
    assert "\r\ncontent-type: application/problem+json\r\n" in head
    problem = json.loads(body)
    assert problem["instance"] == "/api/v1/posts"
    assert (problem["status"], problem["request_id"]) == (408, "mine")


def test_an_idle_connection_stays(hasty: Proxy) -> None:
    """Longer than a request may take, and only so long."""
    idle = connect(hasty.url)
    assert answer(idle, LIVE).startswith(b"HTTP/1.1 200 ")
    for _ in range(2):
        assert until_closed(connect(hasty.url)) == b""
    assert answer(idle, LIVE).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_ends(house: House) -> None:
    settings = UNLIMITED | {"HLFAST_HAPROXY_IDLE": "300ms"}
    with Proxy([house.api.port], [house.node.port], settings) as proxy:
        proxy.wait_until_up()
        line = connect(proxy.url)
        assert answer(line, LIVE).startswith(b"HTTP/1.1 200 ")
        assert until_closed(line) == b""


@contextmanager
def closing_after_one() -> Iterator[tuple[int, list[bytes]]]:
    """A server that says that it keeps connections, and hangs up on the second request of each."""
    requests: list[bytes] = []

    def serve(line: socket.socket) -> None:
        with line, suppress(ConnectionError):
            for turn in range(2):
                head = line.recv(65536)
                if not head:
                    return
                if not head.startswith(b"GET /health/ready"):
                    requests.append(head.partition(b" HTTP/")[0])
                if turn == 0:
                    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def accept() -> None:
        while True:
            try:
                line, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[line], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1]), requests
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(START_S)


def test_what_meets_a_closing_connection_is_repeated_where_that_is_safe(house: House) -> None:
    with closing_after_one() as (port, requests), Proxy([port], [house.node.port]) as proxy:
        proxy.wait_until_up()
        line = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=START_S)
        for number in range(4):
            line.request("GET", f"/{number}")
            response = line.getresponse()
            response.read()
            assert response.status == 200
        line.close()
        # Each second one met a connection that closed under it.
        assert requests == [b"GET /0", *[b"GET /1"] * 2, *[b"GET /2"] * 2, *[b"GET /3"] * 2]
