"""Requests whose end two servers may see differently (ASVS 4.2): never a second answer.

Each holds a second request where a reader that is led astray would find one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests import wire
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module")
def api(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Api]:
    """One that soon closes a connection on which nothing more is asked: that is all there was."""
    database = new_database(postgres_server, TEMPLATE)
    with Api(database, redis_server.url, HLFAST_IDLE_TIMEOUT_S=1) as server:
        yield server


SECOND = b"GET /smuggled HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
LENGTH = b"%d" % len(SECOND)
# With the last chunk before it.
CHUNK = b"0\r\n\r\n"
LONG = b"%d" % (len(CHUNK) + len(SECOND))
NEW = b"POST /api/v1/users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
GET = b"GET /api/v1/users/0 HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def both(transfer_encoding: bytes, start: bytes = NEW) -> bytes:
    """A length and an encoding, however that is written."""
    head = start + b"Content-Length: " + LONG + b"\r\n" + transfer_encoding + b"\r\n\r\n"
    return head + CHUNK + SECOND


def length(line: bytes) -> bytes:
    """A length, however that is written."""
    return NEW + line + b"\r\n\r\n" + SECOND


SHAPES = {
    "length and chunks": both(b"Transfer-Encoding: chunked"),
    "chunks and length": NEW + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
    + b"%x\r\n" % len(SECOND) + SECOND + b"\r\n" + CHUNK,
    "a space before the colon": both(b"Transfer-Encoding : chunked"),
    "a tab": both(b"Transfer-Encoding:\tchunked"),
    "a vertical tab": both(b"Transfer-Encoding: \x0bchunked"),
    "folded": both(b"Transfer-Encoding:\r\n chunked"),
    "folded into another": both(b"X: a\r\n Transfer-Encoding: chunked"),
    "behind a bare LF": both(b"X: a\nTransfer-Encoding: chunked"),
    "behind a bare CR": both(b"X: a\rTransfer-Encoding: chunked"),
    "capitals": both(b"transfer-ENCODING: ChUnKeD"),
    "quoted": both(b'Transfer-Encoding: "chunked"'),
    "unknown": both(b"Transfer-Encoding: xchunked"),
    "identity": both(b"Transfer-Encoding: identity"),
    "twice": both(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "twice, one unknown": both(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
    "a list": both(b"Transfer-Encoding: chunked, identity"),
    "HTTP/1.0": both(b"Transfer-Encoding: chunked\r\nConnection: keep-alive",
                     NEW.replace(b"1.1", b"1.0")),
    "a head in bare LFs": length(b"Content-Length: " + LENGTH).replace(b"\r\n", b"\n", 4),
    "a sign": length(b"Content-Length: +" + LENGTH),
    "hexadecimal": length(b"Content-Length: 0x1"),
    "a list of lengths": length(b"Content-Length: " + LENGTH + b", " + LENGTH),
    "two lengths in a list": length(b"Content-Length: 0, " + LENGTH),
    "two lengths": length(b"Content-Length: 0\r\nContent-Length: " + LENGTH),
    "the same length twice": length(b"\r\n".join([b"Content-Length: " + LENGTH] * 2)),
    "a length within": length(b"Content-Length: 1 " + LENGTH),
    "no digits": length(b"Content-Length:"),
    "a space before a length's colon": length(b"Content-Length : " + LENGTH),
    "NUL in a name": length(b"Content-Length\0: " + LENGTH),
    "a chunk's sign": NEW + CHUNKED + b"+2\r\n{}\r\n" + CHUNK + SECOND,
    "a chunk's 0x": NEW + CHUNKED + b"0x2\r\n{}\r\n" + CHUNK + SECOND,
    "a chunk that is longer": NEW + CHUNKED + b"1\r\n{}\r\n" + CHUNK + SECOND,
    "a chunk of 2^64": NEW + CHUNKED + b"10000000000000002\r\n{}\r\n" + CHUNK + SECOND,
    "chunks in bare LFs": NEW + CHUNKED + b"2\n{}\n0\n\n" + SECOND,
    "an extension with a bare LF": NEW + CHUNKED + b"2;a\n{}\r\n" + CHUNK + SECOND,
    "a body of a GET": GET + b"Content-Length: " + LENGTH + b"\r\n\r\n" + SECOND,
    "chunks of a GET": GET + CHUNKED + b"%x\r\n" % len(SECOND) + SECOND + b"\r\n" + CHUNK,
    "a space before the first header": GET.replace(b"\r\nHost", b"\r\n Host") + b"\r\n" + SECOND,
    "HTTP/0.9": b"GET /api/v1/users/0\r\n\r\n" + SECOND,
    "HTTP/1.2": GET.replace(b"1.1", b"1.2") + b"\r\n" + SECOND,
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_one_request_has_one_answer(client: Client, shape: str) -> None:
    answer = wire.ask_all(client.root, SHAPES[shape])
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]
    assert len(statuses) == 1
    # The last two kinds are answered as what they are: there is no such user.
    assert statuses[0] == (404 if "of a GET" in shape else 400)
    assert b"/smuggled" not in answer
    assert client.get(f"{client.root}/health/live").status_code == 200


def test_what_follows_a_request_that_is_whole_is_a_request(client: Client) -> None:
    """So that the silence above is not that of a server which reads one request only."""
    for first in (GET + b"\r\n", NEW + CHUNKED + b"2\r\n{}\r\n" + CHUNK):
        answer = wire.ask_all(client.root, first + SECOND)
        assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 2
        assert b"/smuggled" in answer


@pytest.mark.parametrize("value", ["a\r\nX-Added: 1", "a\nX-Added: 1", "a\rX-Added: 1", "a b", "é"])
def test_nothing_of_a_request_becomes_a_header(client: Client, value: str) -> None:
    target = b"/api/v1/users/search?first_name=" + quote(value).encode()
    header = b"X-Request-ID: " + re.sub(r"[\r\n]", "", value).encode()
    for one in (target, b"/" + quote(value).encode()):
        answer = wire.get(client.root, one, header)
        assert answer.status < 500
        assert "x-added" not in answer.headers
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answer.headers["x-request-id"])
