"""What no well-behaved client sends: refused, never a 500, and the next one is served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import wire
from tests.clients import Client

pytestmark = pytest.mark.one_database

HEAD = b"Host: test\r\nConnection: close\r\n"
ME = b"GET /api/v1/users/me HTTP/1.1\r\n" + HEAD
NEW = b"POST /api/v1/users HTTP/1.1\r\n" + HEAD


@pytest.fixture(autouse=True)
def still_serves(client: Client) -> Iterator[None]:
    """Whatever was sent, the next request is answered."""
    yield
    assert client.get(f"{client.root}/health/live").status_code == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (ME + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (ME + b"".join(b"X%d: a\r\n" % number for number in range(500)) + b"\r\n", 431),
        (b"GET /api/v1/users/" + b"1" * 100_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
        (b"GET /api/v1/users?" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"GET /a\nb HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (ME + b"no colon\r\n\r\n", 400),
        (ME + b"nul\0: a\r\n\r\n", 400),
        (ME + b"a: nul\0\r\n\r\n", 400),
        (NEW + b"Content-Length: abc\r\n\r\n", 400),
        (NEW + b"Content-Length: -1\r\n\r\n", 400),
        (NEW + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (NEW + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (NEW + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (NEW + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400),
        (NEW + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400),
        (NEW + b"Transfer-Encoding: nonsense\r\n\r\n", 400),
        (NEW + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (NEW + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", 400),
    ],
)  # fmt: skip
def test_what_is_no_http(client: Client, request_bytes: bytes, status: int) -> None:
    assert wire.ask(client.root, request_bytes).status == status


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /api/v1/users/me HTTP/1.0\r\n\r\n", 401),
        (b"GET http://elsewhere/api/v1/users/me HTTP/1.1\r\n" + HEAD + b"\r\n", 401),
        (b"GET /api/v1/users/me? HTTP/1.1\r\n" + HEAD + b"\r\n", 401),
        (b"GET /api/v1/users/%6d%65 HTTP/1.1\r\n" + HEAD + b"\r\n", 401),
        (b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"CONNECT test:80 HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"A-METHOD /api/v1/users/me HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
        (ME + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 401),
        (ME + b"Authorization: x\r\nAuthorization: y\r\n\r\n", 401),
        (ME + b"Content-Length: 2\r\n\r\n{}", 401),
        (NEW + b"Content-Length: 0\r\n\r\n", 400),
        (NEW + b"\r\n", 400),
        (NEW + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", 413),
        (NEW + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 422),
        (NEW + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nT: t\r\n\r\n", 422),
    ],
)  # fmt: skip
def test_what_is_only_odd(client: Client, request_bytes: bytes, status: int) -> None:
    answer = wire.ask(client.root, request_bytes)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("target", "instance"),
    [
        (b"/nothing", "/nothing"),
        (b"/a%20b%22%3C%00", "/a%20b%22%3C%00"),
        ("/é".encode(), "/%C3%A9"),
        (b"/%C3%A9?query=1", "/%C3%A9"),
        (b"/a;b=c,d:e@f$g&h!i'(j)*+~_-.", "/a;b=c,d:e@f$g&h!i'(j)*+~_-."),
    ],
)
def test_a_problems_instance_is_a_uri(client: Client, target: bytes, instance: str) -> None:
    assert wire.get(client.root, target).json["instance"] == instance


def test_one_connection_serves_on_after_errors(client: Client) -> None:
    """Two requests on one connection, the first with a body that nobody wanted."""
    first = b"GET /api/v1/users/0 HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}"
    both = wire.ask_all(client.root, first + b"GET /health/live HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert both.count(b"HTTP/1.1 ") == 2
    assert both.index(b"HTTP/1.1 404") < both.index(b"HTTP/1.1 200")
