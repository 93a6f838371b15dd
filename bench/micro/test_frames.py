"""What a frame costs: made once, queued for every socket, written together with others.

    python -m pytest bench/micro/test_frames.py

The reader is this process too, so that the kernel's share is a write's on loopback and no more.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import picows
import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from hlfast.websocket.connection import Connection
from hlfast.websocket.limits import Limits
from hlfast.websocket.listener import Answer, listen
from hlfast.websocket.wire import text_frame
from hlfast.websocket.write_queue import WriteQueue

PAYLOAD = b'{"type":"post.created","cursor":"","event_id":"","post":' + b"*" * 340 + b"}"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection and its peer's socket; the loop runs only while they connect."""
    loop = uvloop.new_event_loop()
    limits = Limits(ping_idle_s=None, queue_bytes_max=1 << 30)
    writes = WriteQueue(limits)
    connections: list[Connection] = []

    def accept(request: picows.WSUpgradeRequest) -> Answer:
        connections.append(Connection(writes))
        return Answer(picows.WSUpgradeResponse.create_101_response(), connections[0])

    async def connect() -> socket.socket:
        server = await listen(accept, limits, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        peer.sendall(REQUEST)
        peer.setblocking(False)
        await loop.sock_recv(peer, 4096)
        return peer

    peer = loop.run_until_complete(connect())
    # Queueing asks the loop for a flush; here the benchmark itself flushes.
    writes.add = lambda connection: None  # type: ignore[method-assign]
    yield connections[0], peer
    peer.close()
    loop.close()


def test_text_frame(benchmark: BenchmarkFixture) -> None:
    assert benchmark(text_frame, PAYLOAD)[4:] == PAYLOAD


@pytest.mark.parametrize("coalesced", [1, 5, 20, 100])
def test_queue_and_flush(
    benchmark: BenchmarkFixture, pair: tuple[Connection, socket.socket], coalesced: int
) -> None:
    """One write of so many frames; the time is for all of them together."""
    connection, peer = pair
    frame = text_frame(PAYLOAD)
    buffer = bytearray(1 << 20)

    def drain() -> None:
        assert peer.recv_into(buffer)

    def write() -> None:
        for _ in range(coalesced):
            connection.queue(frame)
        connection.flush()

    write()
    assert peer.recv(1 << 20) == frame * coalesced
    benchmark.pedantic(write, teardown=drain, rounds=2000)  # type: ignore[no-untyped-call]
