"""An event stream as its listener's user makes one, without anybody's token."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import picows
import pytest

from hlfast.websocket.event_stream import EventStream, event_of
from hlfast.websocket.limits import Limits
from hlfast.websocket.write_queue import WriteQueue
from tests.websocket.echo import Server, serving
from tests.websocket.raw_client import DEADLINE_S

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
LIMITS = Limits(comment_s=3600, behind_max_s=7, close_timeout_s=2)


class Noted(EventStream):
    """Tells the test that it is open, and with which code it ended."""

    __slots__ = ("events",)

    def __init__(self, writes: WriteQueue, events: queue.Queue[object]) -> None:
        super().__init__(writes, HEAD, lambda code, reason: REFUSAL)
        self.events = events

    def encode(self, frame: bytes) -> bytes:
        return event_of(b"frame", b"", frame)

    def end(self, code: int, reason: str) -> bytes:
        return event_of(b"end", b"", reason.encode())

    def on_open(self) -> None:
        self.events.put(self)

    def on_closed(self, code: int, reason: str) -> None:
        self.events.put((code, reason))


@contextmanager
def streaming() -> Iterator[tuple[Server, socket.socket, Noted, queue.Queue[object]]]:
    """A server, a client that has asked for the stream, the stream, and what happens to it."""
    events: queue.Queue[object] = queue.Queue()
    writes = WriteQueue(LIMITS)

    def accept(request: picows.WSUpgradeRequest) -> Noted:
        return Noted(writes, events)

    with (
        serving(LIMITS, streams={b"/events": accept}) as server,
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as client,
    ):
        client.sendall(b"GET /events?x=1 HTTP/1.1\r\nHost: test\r\n\r\n")
        stream = events.get(timeout=DEADLINE_S)
        assert isinstance(stream, Noted)
        yield server, client, stream, events


def all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def test_the_head_goes_out_with_the_first_event() -> None:
    with streaming() as (server, client, stream, events):
        server.call(stream.queue, b"1")
        server.call(stream.queue, b"2")
        server.call(stream.close, 1001, "because")
        head, _, body = all_of(client).partition(b"\r\n\r\n")
        assert head + b"\r\n\r\n" == HEAD
        first, *rest = body.split(b"\n\n")
        assert first.startswith(b"retry: ")
        assert first.endswith(b"\nevent: frame\ndata: 1")
        assert rest == [b"event: frame\ndata: 2", b"event: end\ndata: because", b""]
        assert events.get(timeout=DEADLINE_S) == (1001, "because")


def test_closed_before_it_is_refused() -> None:
    with streaming() as (server, client, stream, events):
        server.call(stream.close, 1001, "because")
        server.call(stream.queue, b"1")
        assert all_of(client) == REFUSAL
        assert events.get(timeout=DEADLINE_S) == (1001, "because")


def test_a_client_that_hangs_up() -> None:
    """It has no word for it, so it is no abnormal end."""
    with streaming() as (server, client, stream, events):
        server.call(stream.queue, b"1")
        client.close()
        assert events.get(timeout=DEADLINE_S) == (1005, "")
        server.call(stream.queue, b"2")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
@pytest.mark.parametrize("comment_s", [1, 20])
def test_a_dead_machine_is_given_up(comment_s: float) -> None:
    """After two comments without an acknowledgement, and not before a slow reader would be."""
    limits = Limits(comment_s=comment_s, behind_max_s=7, close_timeout_s=2)
    with socket.socket() as one:

        class Transport:
            """What a stream asks of its way out at the beginning."""

            def get_extra_info(self, name: str) -> socket.socket:
                return one

            def set_write_buffer_limits(self, high: int) -> None:
                assert high == 0

        class Way:
            """Where a stream writes, as the listener has it."""

            transport = Transport()
            connection = None
            discards_input = True

        Noted(WriteQueue(limits), queue.Queue()).begin(Way())  # type: ignore[arg-type]
        given = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert given == 1000 * max(2 * comment_s, 9)
