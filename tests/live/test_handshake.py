"""The opening handshake: headers, tokens, refusals; Firefox above all."""

from __future__ import annotations

import contextlib
import json
import re
import socket

import picows
import pytest
from multidict import CIMultiDict

from hlfast import errors
from hlfast.live.upgrade import (
    Upgrade,
    UpgradeRequired,
    answer,
    check_upgrade,
    malformed,
    read_upgrade,
)
from hlfast.websocket.limits import Limits
from hlfast.websocket.write_queue import WriteQueue
from tests import wire
from tests.doors import connect as open_line
from tests.doors import until_closed
from tests.websocket.echo import Echo, Factory, serving
from tests.websocket.raw_client import CLOSE, DEADLINE_S, REQUEST, TEXT, Peer, close, text

pytestmark = pytest.mark.one_database

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NO_MORE = "\r\n"


def request(target: str = "/ws", *headers: tuple[str, str]) -> picows.WSUpgradeRequest:
    """A good handshake; what `headers` name replaces, "" removes, twice is two lines."""
    given = CIMultiDict(headers)
    usual = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    made = picows.WSUpgradeRequest()
    made.method, made.version, made.path = b"GET", b"HTTP/1.1", target.encode("latin-1")
    made.headers = CIMultiDict((k, v) for k, v in usual.items() if k not in given)
    made.headers.extend((k, v) for k, v in headers if v)
    return made


def connect(upgrade: Upgrade) -> Echo:
    return Echo(WriteQueue(Limits()))


@pytest.mark.parametrize(
    "headers",
    [
        [("Connection", "keep-alive, Upgrade")],  # Firefox
        [("Connection", "upgrade,keep-alive")],
        [("Connection", "keep-alive"), ("Connection", "Upgrade")],
        [("Upgrade", "WebSocket")],
        [("Upgrade", "h2c, websocket")],
    ],
)
def test_lists_of_tokens_are_understood(headers: list[tuple[str, str]]) -> None:
    asked = request("/ws", *headers)
    check_upgrade(asked)
    # as picows compares them
    assert asked.headers.getall("connection") == ["upgrade"]
    assert asked.headers.getall("upgrade") == ["websocket"]


@pytest.mark.parametrize(
    "header",
    [
        ("Connection", ""),
        ("Connection", "keep-alive"),
        ("Connection", "upgraded"),
        ("Upgrade", ""),
        ("Upgrade", "h2c"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Version", "14"),
    ],
)
def test_what_is_no_upgrade(header: tuple[str, str]) -> None:
    with pytest.raises(UpgradeRequired):
        check_upgrade(request("/ws", header))


@pytest.mark.parametrize("key", ["", "short", KEY[:-4], KEY + "AAAA", "dGhlIHNhbXBsZSBub25j\udcff"])
def test_bad_key(key: str) -> None:
    with pytest.raises(errors.Malformed):
        check_upgrade(request("/ws", ("Sec-WebSocket-Key", key)))


BEARER = ("Sec-WebSocket-Protocol", "bearer, good")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request("/ws", ("Authorization", "Bearer good")), Upgrade("good", None, None)),
        (request("/ws", ("authorization", "bearer  good")), Upgrade("good", None, None)),
        (request("/ws?token=good"), Upgrade("good", None, None)),
        (request("/ws?token=good&cursor=a%2Fb"), Upgrade("good", "a/b", None)),
        (request("/ws?cursor=&token=good"), Upgrade("good", None, None)),
        (request("/ws", BEARER), Upgrade("good", None, "bearer")),
        (
            request("/ws", ("Sec-WebSocket-Protocol", "x"), BEARER),
            Upgrade("good", None, "bearer"),
        ),
        (
            request(
                "/ws", ("Sec-WebSocket-Protocol", "bearer"), ("Sec-WebSocket-Protocol", "good")
            ),
            Upgrade("good", None, "bearer"),
        ),
        # The header first, the subprotocol's pair before the query.
        (
            request("/ws?token=query", BEARER, ("Authorization", "Bearer header")),
            Upgrade("header", None, "bearer"),
        ),
        (request("/ws?token=query", BEARER), Upgrade("good", None, "bearer")),
        # Only the subprotocol's name, the token elsewhere.
        (
            request("/ws?token=good", ("Sec-WebSocket-Protocol", "bearer")),
            Upgrade("good", None, "bearer"),
        ),
        (request("/ws?token=good", ("Authorization", "Basic eDp5")), Upgrade("good", None, None)),
        # Never good, and yet a token.
        (request("/ws", ("Authorization", "Bearer caf\udcc3")), Upgrade("caf\udcc3", None, None)),
        (request("/ws?token=caf%C3%A9"), Upgrade("caf\xe9", None, None)),
    ],
)
def test_where_the_token_is(asked: picows.WSUpgradeRequest, expected: Upgrade) -> None:
    assert read_upgrade(asked) == expected


@pytest.mark.parametrize(
    "asked",
    [
        request("/ws"),
        request("/ws?token="),
        request("/ws", ("Authorization", "Bearer ")),
        request("/ws", ("Authorization", "Basic eDp5")),
        request("/ws", ("Sec-WebSocket-Protocol", "chat, good")),
        request("/ws", ("Sec-WebSocket-Protocol", "bearer")),
    ],
)
def test_no_token(asked: picows.WSUpgradeRequest) -> None:
    with pytest.raises(errors.Unauthenticated):
        read_upgrade(asked)


def test_too_many_query_fields() -> None:
    with pytest.raises(errors.Malformed):
        read_upgrade(request("/ws?" + "a=b&" * 100))


@pytest.mark.parametrize(
    ("asked", "status", "header"),
    [
        (request("/ws"), 401, ("WWW-Authenticate", "Bearer")),
        (request("/other?token=good"), 404, None),
        (request("/ws/?token=good"), 404, None),
        (
            request("/ws?token=good", ("Sec-WebSocket-Version", "12")),
            426,
            ("Sec-WebSocket-Version", "13"),
        ),
        (request("/ws?token=good", ("Upgrade", "")), 426, ("Upgrade", "websocket")),
        (request("/ws?token=good", ("Sec-WebSocket-Key", "x")), 400, None),
    ],
)
def test_refusals(
    asked: picows.WSUpgradeRequest, status: int, header: tuple[str, str] | None
) -> None:
    asked.headers["X-Request-ID"] = "mine-1"
    refused = answer(asked, "/ws", connect)
    assert refused.listener is None
    assert refused.response.status == status
    assert refused.response.headers["Content-Type"] == "application/problem+json"
    assert refused.response.headers["X-Request-ID"] == "mine-1"
    if header:
        assert refused.response.headers[header[0]] == header[1]
    problem = json.loads(refused.response.body or b"")
    assert problem["status"] == status
    assert problem["request_id"] == "mine-1"
    assert "?" not in problem["instance"]
    assert {"type", "title", "detail"} < set(problem)
    assert ("/asyncapi" in problem["detail"]) == (status == 404)


def test_refusal_without_capacity() -> None:
    def full(upgrade: Upgrade) -> Echo:
        raise errors.Unavailable("Too many sockets.", retry_after_s=3)

    refused = answer(request("/ws?token=good"), "/ws", full)
    assert refused.response.status == 503
    assert refused.response.headers["Retry-After"] == "3"


def test_mistake_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    def broken(upgrade: Upgrade) -> Echo:
        raise KeyError(upgrade.token)

    refused = answer(request("/ws?token=secret"), "/ws", broken)
    assert refused.response.status == 500
    assert b"secret" not in (refused.response.body or b"")
    assert "KeyError in a websocket's handshake" in caplog.text
    assert "secret" not in caplog.text


# On the wire


def factory(writes: WriteQueue) -> Factory:
    return lambda asked: answer(asked, "/ws", connect)


FIREFOX = REQUEST.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade")


def test_firefox_is_let_in() -> None:
    headers = "Sec-WebSocket-Protocol: bearer, good\r\nSec-WebSocket-Extensions: x\r\n"
    with (
        serving(factory=factory) as server,
        Peer(server.port, "/ws", headers, request=FIREFOX) as peer,
    ):
        assert peer.status == 101
        assert peer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert peer.headers["sec-websocket-protocol"] == "bearer"
        assert "sec-websocket-extensions" not in peer.headers
        peer.send(close())
        assert list(peer.frames()) == [(CLOSE, 1000)]


@pytest.mark.parametrize(("sent", "is_sane"), [("mine-1", True), ("a b", False), ("", False)])
def test_a_handshake_has_a_request_id(sent: str, is_sane: bool) -> None:
    more = f"X-Request-ID: {sent}\r\n" if sent else ""
    with serving(factory=factory) as server, Peer(server.port, "/ws?token=good", more) as peer:
        assert peer.status == 101
        given = peer.headers["x-request-id"]
        assert (given == sent) == is_sane
        assert re.fullmatch("[A-Za-z0-9._-]{1,128}", given)


def test_subprotocol_only_when_offered() -> None:
    with serving(factory=factory) as server, Peer(server.port, "/ws?token=good") as peer:
        assert peer.status == 101
        assert "sec-websocket-protocol" not in peer.headers


def test_refusal_on_the_wire() -> None:
    with serving(factory=factory) as server, Peer(server.port, "/ws?cursor=x") as peer:
        assert peer.status == 401
        assert peer.headers["www-authenticate"] == "Bearer"
        body = peer.body()
        assert len(body) == int(peer.headers["content-length"])
        assert json.loads(body)["instance"] == "/ws"


def ask(port: int, request: str, method: str = "GET") -> wire.Answer:
    return wire.ask(f"http://127.0.0.1:{port}", request.encode("latin-1"), method=method)


def is_problem(answer: wire.Answer, status: int) -> bool:
    problem = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert {"type", "title", "status", "detail", "instance", "request_id"} == problem.keys()
    return bool(answer.status == problem["status"] == status)


@pytest.mark.parametrize(
    "asked",
    [
        "nonsense\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET  HTTP/1.0\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET /ws HTTP/1.1\r\nno colon\r\n\r\n",
        "HEAD /ws HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /ws HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_what_is_malformed(asked: str) -> None:
    """It is said as elsewhere, and the server goes on."""
    with serving(factory=factory, refuse=malformed) as server:
        if asked.startswith("HEAD"):
            assert ask(server.port, asked, "HEAD").status == 400
        else:
            assert is_problem(ask(server.port, asked), 400)
        with Peer(server.port, "/ws?token=good", early=text("hello")) as peer:
            assert peer.frame() == (TEXT, b"hello")


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "A-METHOD"])
@pytest.mark.parametrize("body", ["", "Content-Length: 5\r\n\r\nhello"])
def test_another_method(method: str, body: str) -> None:
    with serving(factory=factory, refuse=malformed) as server:
        asked = f"{method} /ws HTTP/1.1\r\nX-Request-ID: mine\r\n{body or NO_MORE}"
        refused = ask(server.port, asked, method)
        assert is_problem(refused, 405)
        assert refused.headers["allow"] == "GET, HEAD"
        assert is_problem(ask(server.port, f"{method} /other HTTP/1.1\r\n{NO_MORE}", method), 404)


@pytest.mark.parametrize("start", ["HEAD /ws?token=good HTTP/1.1", "GET /ws?token=good HTTP/1.0"])
def test_neither_head_nor_an_old_version_is_a_handshake(start: str) -> None:
    """Though all its headers say so."""
    fields = REQUEST.partition("\r\n")[2].format(more="X-Request-ID: mine\r\n")
    with serving(factory=factory, refuse=malformed) as server:
        refused = ask(server.port, f"{start}\r\n{fields}", start.split(maxsplit=1)[0])
        assert refused.status == 426
        assert refused.headers["upgrade"] == "websocket"
        assert refused.headers["x-request-id"] == "mine"
        if start.startswith("HEAD"):
            assert refused.body == b""
        else:
            assert is_problem(refused, 426)


def test_a_request_in_pieces() -> None:
    with serving(factory=factory, refuse=malformed) as server:
        url = f"http://127.0.0.1:{server.port}"
        pieces = [bytes([octet]) for octet in b"GET /other HTTP/1.0\r\n\r\n"]
        assert is_problem(wire.ask(url, *pieces), 404)


def test_request_that_does_not_end() -> None:
    """Cut after a time, or when it is too long for a handshake."""
    with serving(Limits(handshake_timeout_s=0.05), factory=factory) as server:
        for start in (b"GET /ws HTTP/1.1\r\n", b"GET /ws?" + b"x" * 20_000):
            with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as peer:
                peer.sendall(start)
                with contextlib.suppress(ConnectionResetError):
                    while peer.recv(65536):
                        pass


@pytest.mark.parametrize("drip", [b"", b"a"])
def test_a_handshake_that_does_not_come(drip: bytes) -> None:
    with serving(Limits(handshake_timeout_s=0.3), factory=factory, refuse=malformed) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert until_closed(open_line(url)) == b""
        line = open_line(url)
        line.sendall(b"P")
        assert until_closed(line, drip).startswith(b"HTTP/1.1 408 ")
