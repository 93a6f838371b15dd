"""What one door accepts the others accept, with the same answer."""

from __future__ import annotations

import pytest

from tests import wire
from tests.haproxy.conftest import House

HEAD = b"Host: test\r\nConnection: close\r\n\r\n"
NEW = b"POST /api/v1/users HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"


def get(target: str | bytes, version: bytes = b"1.1") -> bytes:
    path = target if isinstance(target, bytes) else target.encode()
    return b"GET " + path + b" HTTP/" + version + b"\r\n" + HEAD


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        # Raw UTF-8, in the query and in the path.
        (get("/api/v1/users/search?first_name=Анна"), 200),
        (get("/api/v1/users/search?first_name=Анна&last_name=名前"), 200),
        (get("/Анна"), 404),
        (get("/api/v1/users/é"), 404),
        (get(b"/health/live?\\^`{|}~[]"), 200),
        (get("/health/live", b"1.0"), 200),
        # Malformed, or odd.
        (NEW + b"Content-Length: 1\r\n\r\n{", 400),
        (NEW + b"Content-Length: 2\r\n\r\n\xff{", 400),
        (NEW + b"Content-Length: 2\r\n\r\n{}", 422),
        (NEW + b"Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n", 413),
        (b"A-METHOD /api/v1/users/1 HTTP/1.1\r\n" + HEAD, 405),
        (b"OPTIONS * HTTP/1.1\r\n" + HEAD, 404),
        (b"CONNECT test:80 HTTP/1.1\r\n" + HEAD, 404),
    ],
)
def test_the_api_and_the_front_door(house: House, request_bytes: bytes, status: int) -> None:
    direct = wire.ask(house.api.url, request_bytes)
    through = wire.ask(house.proxy.url, request_bytes)
    assert direct.status == through.status == status
    assert direct.headers["content-type"] == through.headers["content-type"]
    if status == 200:
        assert through.body == direct.body
    else:
        assert direct.headers["content-type"] == "application/problem+json"
        assert through.json | {"request_id": ""} == direct.json | {"request_id": ""}
        assert through.json["request_id"] == through.headers["x-request-id"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get(b"/\xff"), 400),
        (get(b"/<>"), 400),
        (get("/health/live", b"2.5"), 400),
        (b"GET /health/live HTTP/1.1\r\na: nul\0\r\n" + HEAD, 400),
        (b"GET /health/live HTTP/1.1\r\na b: c\r\n" + HEAD, 400),
        *(
            (
                b"GET /health/live HTTP/1.1\r\n"
                + b"".join(b"X%d: a\r\n" % n for n in range(headers))
                + HEAD,
                431,
            )
            for headers in (99, 1000)
        ),
    ],
)
def test_what_the_servers_parser_refuses(house: House, request_bytes: bytes, status: int) -> None:
    """It says so without a word; the front door adds them."""
    assert wire.ask(house.api.url, request_bytes).status == status
    through = wire.ask(house.proxy.url, request_bytes)
    assert through.status == through.json["status"] == status
    assert through.headers["content-type"] == "application/problem+json"
    assert through.json["request_id"] == through.headers["x-request-id"]


@pytest.mark.parametrize("target", [b"/health/live", b"/health/ready", b"/metrics"])
def test_a_nodes_own_pages(house: House, target: bytes) -> None:
    whole = wire.ask(house.node.url, b"GET " + target + b" HTTP/1.1\r\n" + HEAD)
    assert whole.status == 200
    old = wire.ask(house.node.url, b"GET " + target + b" HTTP/1.0\r\n\r\n")
    assert (old.status, old.headers["content-type"]) == (200, whole.headers["content-type"])
    for version in (b"1.0", b"1.1"):
        bare = b"HEAD " + target + b" HTTP/" + version + b"\r\n" + HEAD
        # Not one byte of a body comes.
        head, _, rest = wire.ask_all(house.node.url, bare).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert rest == b""
    other = wire.ask(house.node.url, b"POST " + target + b" HTTP/1.1\r\n" + HEAD)
    assert (other.status, other.headers["allow"]) == (405, "GET, HEAD")
    assert other.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /ws HTTP/1.0", 426),
        (b"HEAD /ws HTTP/1.1", 426),
        (b"POST /ws HTTP/1.1", 405),
        (b"GET /ws HTTP/1.1", 426),
    ],
)
def test_what_is_no_handshake(house: House, start: bytes, status: int) -> None:
    method = start.split()[0].decode()
    for url in (house.node.url, house.proxy.url):
        refused = wire.ask(url, start + b"\r\n" + HEAD, method=method)
        assert refused.status == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert (method == "HEAD") == (refused.body == b"")
