"""Handshakes that are never finished: one address has its share of them."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from hlfast.addresses import networks
from hlfast.websocket.handshakes import Handshakes
from hlfast.websocket.limits import Limits
from tests.websocket.echo import serving
from tests.websocket.raw_client import DEADLINE_S, TEXT, Peer, text

MOST = 8


def silent(port: int, address: str) -> socket.socket:
    """A connection that says nothing, from one of this machine's addresses."""
    return socket.create_connection(
        ("127.0.0.1", port), timeout=DEADLINE_S, source_address=(address, 0)
    )


def test_who_has_most_gives_way() -> None:
    with serving(Limits(handshakes_max=MOST)) as server, ExitStack() as stack:
        mine = stack.enter_context(silent(server.port, "127.0.0.1"))
        theirs = [stack.enter_context(silent(server.port, "127.0.0.2")) for _ in range(MOST)]
        # Their own last one was one too many.
        assert theirs[0].recv(1) == b""
        peer = stack.enter_context(Peer(server.port))
        peer.send(text("hello"))
        assert peer.frame() == (TEXT, b"hello")
        assert theirs[1].recv(1) == b""
        mine.sendall(b"GET / HTTP/1.1\r\n")
        theirs[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert theirs[-1].recv(64).startswith(b"HTTP/1.1 ")
        mine.settimeout(0)
        with pytest.raises(BlockingIOError):  # neither answered nor cut
            mine.recv(1)


def test_open_connections_are_no_handshakes() -> None:
    with serving(Limits(handshakes_max=MOST)) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in range(3 * MOST)]
        for peer in peers:
            peer.send(text("there"))
        assert [peer.frame() for peer in peers] == [(TEXT, b"there")] * len(peers)


class Line:
    """A connection that knows whether it was cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def abort(self) -> None:
        """Cut it."""
        self.is_cut = True


def test_a_network_of_64_bits_is_one_address() -> None:
    handshakes = Handshakes(4)
    spread = [Line() for _ in range(4)]
    for n, line in enumerate(spread):
        handshakes.begin(line, f"2001:db8::{n + 1:x}")
    alone = Line()
    handshakes.begin(alone, "192.0.2.1")
    assert [line.is_cut for line in [*spread, alone]] == [True, False, False, False, False]
    for line in [*spread, alone]:
        handshakes.end(line)
    assert len(handshakes) == 0


def test_a_proxy_speaks_for_many() -> None:
    handshakes = Handshakes(1, networks("10.0.0.0/8"))
    through, alone = [Line() for _ in range(3)], Line()
    for line in through:
        handshakes.begin(line, "10.1.2.3")
    handshakes.begin(alone, "192.0.2.1")
    assert not any(line.is_cut for line in [*through, alone])
    for line in through:
        handshakes.end(line)
    assert len(handshakes) == 1
