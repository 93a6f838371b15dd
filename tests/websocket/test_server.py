"""Our own side of a connection: what Autobahn cannot see."""

from __future__ import annotations

import logging

import pytest

from hlfast.websocket.connection import Connection
from hlfast.websocket.limits import Limits
from hlfast.websocket.wire import close_frame
from hlfast.websocket.write_queue import WriteQueue
from tests.websocket.echo import Reported, Reports, exchange, serving
from tests.websocket.raw_client import (
    BINARY,
    CLOSE,
    HELLO,
    PING,
    PONG,
    TEXT,
    Peer,
    client_frame,
    close,
    more,
    ping,
    text,
)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1013, 4429])
def test_close_by_the_server(code: int) -> None:
    reports = Reports()
    with serving(Limits(), reports) as server, Peer(server.port) as peer:
        peer.send(text(f"close {code}"))
        assert peer.frame() == (TEXT, b"before")
        assert peer.frame() == (CLOSE, code)
        # The peer may have sent more before it saw the close frame; nobody wants it now.
        peer.send(text("late"), ping(), close(4000))
        assert peer.frame() is None
        assert isinstance(reports.next(), Reported)
        assert reports.next() == ("closed", code, "because")


def test_close_that_is_not_answered() -> None:
    reports = Reports()
    with serving(Limits(close_timeout_s=0.1), reports) as server, Peer(server.port) as peer:
        peer.send(text("close 1001"))
        assert reports.until("closed") == ("closed", 1001, "because")


def test_close_answered_with_garbage() -> None:
    reports = Reports()
    with serving(Limits(), reports) as server:
        with Peer(server.port) as peer:
            peer.send(text("close 1001"))
            assert [peer.frame(), peer.frame()] == [(TEXT, b"before"), (CLOSE, 1001)]
            peer.send(client_frame(3))
            assert peer.frame() is None
        assert reports.until("closed") == ("closed", 1001, "because")


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (close(4000, b"bye"), 4000, "bye"),
        (close(None), 1005, ""),
        (client_frame(TEXT, rsv=1), 1002, "a reserved bit is set"),
        (text(b"\xff"), 1007, "not UTF-8"),
        (client_frame(BINARY, b"*" * 16385), 1009, None),
        (client_frame(3), 1002, None),
        (b"", 1006, ""),
    ],
    # Not their bytes: each process masks them with others.
    ids=["code", "no code", "reserved bit", "not UTF-8", "too long", "reserved", "cut off"],
)
def test_a_close_is_reported_once_with_the_code(sent: bytes, code: int, reason: str | None) -> None:
    reports = Reports()
    with serving(Limits(), reports) as server:
        with Peer(server.port) as peer:
            assert isinstance(reports.next(), Reported)
            peer.send(sent)
            if sent:
                assert [number for _, number in peer.frames()] == [None if code == 1005 else code]
        closed = reports.next()
        assert closed[1] == code
        assert reason is None or closed[2] == reason
    assert reports.events.empty()


def test_mistake_in_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    with serving(Limits(), reports) as server, Peer(server.port) as peer:
        peer.send(text("fail secret"))
        assert peer.frame() == (CLOSE, 1011)
    assert "ValueError in a connection's on_text" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_of_tokens_or_frames_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    logging.getLogger("picows").setLevel(1)
    reports = Reports()
    with serving(Limits(), reports) as server:
        with Peer(server.port, "/?token=secret", "Authorization: Bearer secret\r\n") as peer:
            connection = reports.next()
            protocol = server.call(connection._transport.get_protocol)
            assert not hasattr(protocol.transport.request, "headers")
            assert not hasattr(protocol.transport.request, "path")
            assert not hasattr(protocol.transport.response, "headers")
            peer.send(text("secret"), client_frame(CLOSE, b"s"))
            list(peer.frames())
        with Peer(server.port, "/?token=secret", "broken secret\r\n") as peer:
            assert peer.status == 400
    assert "secret" not in caplog.text
    assert "New connection" not in caplog.text


def test_too_many_frames() -> None:
    reports = Reports()
    limits = Limits(frames_max=5, frames_window_s=3600)
    with serving(limits, reports) as server, Peer(server.port) as peer:
        fragments = [text("x", fin=False), more("y", fin=True)]
        peer.send(HELLO, ping(), *fragments, client_frame(PONG), HELLO)
        peer.send(*[ping()] * 100)
        assert peer.frame() == (PONG, b"")
        assert peer.frame() == (CLOSE, 4429)
        peer.send(close(4429))
        assert peer.frame() is None
    assert reports.until("closed") == ("closed", 4429, "too many frames")


def test_many_frames_over_time() -> None:
    with serving(Limits(frames_max=5, frames_window_s=0)) as server:
        answers = exchange(server, *[ping()] * 100, close())
    assert answers == [(PONG, b"")] * 100 + [(CLOSE, 1000)]


def test_silent_peer() -> None:
    reports = Reports()
    limits = Limits(ping_idle_s=0.05, ping_reply_s=0.05)
    with serving(limits, reports) as server, Peer(server.port) as peer:
        assert peer.frame() == (PING, b"")
        assert reports.until("closed")[1] == 1001


def test_peer_that_answers_pings() -> None:
    with serving(Limits(ping_idle_s=0.5, ping_reply_s=0.5)) as server, Peer(server.port) as peer:
        for _ in range(2):
            assert peer.frame() == (PING, b"")
            peer.send(client_frame(PONG))
        peer.send(close())
        assert list(peer.frames()) == [(CLOSE, 1000)]


def test_long_reason_is_cut_at_a_character() -> None:
    frame = close_frame(1000, "é" * 100)
    assert len(frame) == 2 + 2 + 122
    assert frame[4:].decode() == "é" * 61


def test_connection_has_no_dict() -> None:
    """There will be ten thousand of them."""
    assert not hasattr(Connection(WriteQueue(Limits())), "__dict__")
