"""Framing, pings, fragments, and what breaks the protocol: Autobahn's sections 1 to 5 and 10.

Each case sends raw bytes and names every frame that comes back until the server closes TCP.
"""

from __future__ import annotations

from itertools import product

import pytest

from tests.websocket.echo import Server, exchange
from tests.websocket.raw_client import (
    BINARY,
    CLOSE,
    HELLO,
    HELLO_BACK,
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

# Framing, pings, fragments: what is right comes back (sections 1, 2, 5 and 10)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
def test_payload_of_any_length_form(echo: Server, opcode: int, size: int) -> None:
    payload = b"*" * size
    sent = client_frame(opcode, payload)
    assert exchange(echo, sent, close()) == [(opcode, payload), (CLOSE, 1000)]


@pytest.mark.parametrize("size", [0, 5, 126])
def test_octet_by_octet(echo: Server, size: int) -> None:
    payload = "é" * (size // 2)
    sent = text(payload, fin=False) + ping(b"now") + more(payload, fin=True) + close(1000, b"bye")
    with Peer(echo.port) as peer:
        for octet in sent:
            peer.send(bytes((octet,)))
        expected = [(PONG, b"now"), (TEXT, 2 * payload.encode()), (CLOSE, 1000)]
        assert list(peer.frames()) == expected


@pytest.mark.parametrize("chop", [997, 2048, 65536 + 7])
def test_chopped_large_message(echo: Server, chop: int) -> None:
    payload = b"*" * 65536
    sent = client_frame(BINARY, payload) + close()
    with Peer(echo.port) as peer:
        for start in range(0, len(sent), chop):
            peer.send(sent[start : start + chop])
        assert list(peer.frames()) == [(BINARY, payload), (CLOSE, 1000)]


def test_early_frames_with_the_handshake(echo: Server) -> None:
    with Peer(echo.port, early=HELLO + close()) as peer:
        assert peer.status == 101
        assert list(peer.frames()) == [HELLO_BACK, (CLOSE, 1000)]


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff\xfe", b"*" * 125])
def test_ping_is_answered(echo: Server, payload: bytes) -> None:
    assert exchange(echo, ping(payload), close()) == [(PONG, payload), (CLOSE, 1000)]


def test_pings_in_order_and_unsolicited_pongs(echo: Server) -> None:
    sent = [
        client_frame(PONG),
        client_frame(PONG, b"unsolicited"),
        *(ping(b"%d" % i) for i in range(10)),
    ]
    answers = [(PONG, b"%d" % i) for i in range(10)]
    assert exchange(echo, *sent, close()) == [*answers, (CLOSE, 1000)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_with_pings_among_them(echo: Server, opcode: int) -> None:
    sent = [
        client_frame(opcode, b"frag", fin=False),
        ping(b"1"),
        more(""),
        more("men"),
        ping(b"2"),
        client_frame(PONG),
        more("ted", fin=True),
    ]
    expected = [(PONG, b"1"), (PONG, b"2"), (opcode, b"fragmented"), (CLOSE, 1000)]
    assert exchange(echo, *sent, close()) == expected


def test_empty_fragments(echo: Server) -> None:
    sent = [text("", fin=False), *[more("")] * 100, more("", fin=True), HELLO]
    assert exchange(echo, *sent, close()) == [(TEXT, b""), HELLO_BACK, (CLOSE, 1000)]


@pytest.mark.parametrize("size", [13, 1300])
def test_automatic_fragmentation(echo: Server, size: int) -> None:
    payload = b"0123456789abcdef" * 4096
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    sent = [text(parts[0], fin=False), *map(more, parts[1:]), more("", fin=True)]
    assert exchange(echo, *sent, close()) == [(TEXT, payload), (CLOSE, 1000)]


# What breaks the protocol (sections 2 to 5, and unmasked frames and long lengths besides)

BROKEN = {
    "a ping of 126": [ping(b"*" * 126)],
    "a pong of 126": [client_frame(PONG, b"*" * 126)],
    "a close of 126": [close(1000, b"*" * 124)],
    "a fragmented ping": [ping(b"x", fin=False)],
    "a fragmented pong": [client_frame(PONG, fin=False)],
    "a fragmented close": [client_frame(CLOSE, fin=False)],
    "nothing to continue": [more("x", fin=True)],
    "nothing to continue, not final": [more("x"), more("y", fin=True)],
    "a message within a message": [text("x", fin=False), text("y")],
    "a fragment within a message": [text("x", fin=False), client_frame(BINARY, fin=False)],
    "an unmasked frame": [text("x", masked=False)],
    "a long length where 7 bits do": [text("x", length_form=126)],
    "a longer length where 16 bits do": [text("*" * 200, length_form=127)],
    "a negative length": [b"\x82\xff" + b"\xff" * 12],
    **{
        f"reserved bits {rsv:03b} of opcode {opcode}": [client_frame(opcode, rsv=rsv)]
        for rsv, opcode in product(range(1, 8), (TEXT, BINARY, CLOSE, PING, PONG))
    },
    **{
        f"reserved bits {rsv:03b} of a continuation": [
            text("x", fin=False),
            client_frame(0, b"y", rsv=rsv),
        ]
        for rsv in range(1, 8)
    },
    **{
        f"reserved opcode {opcode}, {len(payload)} bytes": [client_frame(opcode, payload)]
        for opcode, payload in product([*range(3, 8), *range(11, 16)], (b"", b"hello"))
    },
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_protocol_error(echo: Server, sent: list[bytes]) -> None:
    """What came before, in the same packet, is answered; what comes after is not."""
    answers = exchange(echo, HELLO, *sent, HELLO, ping(), close())
    assert answers == [HELLO_BACK, (CLOSE, 1002)]


def test_rest_after_the_end_of_a_message(echo: Server) -> None:
    sent = [text("", fin=False), ping(), more("hello", fin=True), more("x"), HELLO]
    assert exchange(echo, *sent) == [(PONG, b""), HELLO_BACK, (CLOSE, 1002)]


def test_protocol_error_alone(echo: Server) -> None:
    """As the very first frame, in a packet of its own, and with much more to come."""
    with Peer(echo.port) as peer:
        peer.send(client_frame(3))
        assert peer.frame() == (CLOSE, 1002)
        # Input after a failure is read and forgotten: the peer is not reset while it sends.
        for _ in range(50):
            peer.send(client_frame(BINARY, b"*" * 60_000))
        assert peer.frame() is None


def test_message_too_big(echo: Server) -> None:
    assert exchange(echo, HELLO, client_frame(BINARY, b"*" * 70_001)) == [HELLO_BACK, (CLOSE, 1009)]
    whole = client_frame(BINARY, b"*" * 70_000)
    assert exchange(echo, whole, close()) == [(BINARY, b"*" * 70_000), (CLOSE, 1000)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_too_big_in_fragments(echo: Server, opcode: int) -> None:
    """Never more than the bound is held, and the end is not waited for."""
    sent = [client_frame(opcode, b"*" * 35_000, fin=False), ping(), more("*" * 35_000), more("*")]
    assert exchange(echo, *sent) == [(PONG, b""), (CLOSE, 1009)]
