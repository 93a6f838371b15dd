"""When frames are written: coalesced, in slices; and what becomes of slow readers."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hlfast.websocket.limits import Limits
from hlfast.websocket.write_queue import WriteQueue
from tests.websocket.echo import Reports, serving
from tests.websocket.raw_client import (
    CLOSE,
    DEADLINE_S,
    HELLO,
    HELLO_BACK,
    PONG,
    TEXT,
    Peer,
    close,
    ping,
    text,
)

# Coalesced writes


def test_frames_of_one_turn_are_one_write() -> None:
    reports = Reports()
    with serving(Limits(), reports) as server, Peer(server.port) as peer:
        peer.send(text("queue 20"), ping(b"between"), text("queue 20"), close())
        frames = list(peer.frames())
        row = [(TEXT, b"*" * 1020)] * 20
        assert frames == [*row, (PONG, b"between"), *row, (CLOSE, 1000)]
        assert server.writes.writes == 1
        assert server.writes.frames == 42


class Flushed:
    """As much of a connection as WriteQueue sees."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order = order
        self.name = name

    def flush(self) -> None:
        self.order.append(self.name)


def test_writing_is_done_in_slices() -> None:
    """With no time at all one connection is written in each turn, and others have theirs."""

    async def turns() -> list[str]:
        order: list[str] = []
        writes = WriteQueue(Limits(slice_s=-1))
        for name in "abc":
            writes.add(Flushed(order, name))  # type: ignore[arg-type]
        for _ in range(4):
            await asyncio.sleep(0)
            order.append("turn")
        return order

    assert asyncio.run(turns()) == ["a", "turn", "b", "turn", "c", "turn", "turn"]


def test_joining_delay_holds_up_only_what_follows_a_write() -> None:
    async def writes_of_two() -> tuple[list[str], list[str]]:
        order: list[str] = []
        writes = WriteQueue(Limits(join_delay_s=3600))
        writes.add(Flushed(order, "lonely"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        at_once = list(order)
        writes.add(Flushed(order, "second"))  # type: ignore[arg-type]
        for _ in range(10):
            await asyncio.sleep(0)
        return at_once, order

    assert asyncio.run(writes_of_two()) == (["lonely"], ["lonely"])


def test_joining_delay_ends() -> None:
    with serving(Limits(join_delay_s=0.02)) as server, Peer(server.port) as peer:
        for _ in range(5):
            peer.send(HELLO)
            assert peer.frame() == HELLO_BACK


@pytest.mark.parametrize(
    ("hold_max_s", "order"),
    [
        (3600.0, ["turn", "turn", "released", "a", "b"]),
        (0.0, ["a", "b", "turn", "turn", "released"]),
    ],
)
def test_what_is_held_is_written_when_it_is_released_or_it_takes_too_long(
    hold_max_s: float, order: list[str]
) -> None:
    async def written() -> list[str]:
        found: list[str] = []
        writes = WriteQueue(Limits(hold_max_s=hold_max_s))
        writes.hold()
        for name in "ab":
            writes.add(Flushed(found, name))  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.sleep(0)
            found.append("turn")
        writes.release()
        found.append("released")
        await asyncio.sleep(0)
        return found

    assert asyncio.run(written()) == order


# Slow readers

SMALL = 4096  # of a receive buffer: the server's writes back up soon


def test_burst_above_the_bound_to_a_good_reader() -> None:
    reports = Reports()
    limits = Limits(queue_bytes_max=10_000)
    with serving(limits, reports) as server, Peer(server.port) as peer:
        peer.send(text("queue 50"))
        assert [peer.frame() for _ in range(50)] == [(TEXT, b"*" * 1020)] * 50


def test_slow_reader_in_bytes() -> None:
    """What waits for it stays within the bound however much there would be."""
    reports = Reports()
    limits = Limits(queue_bytes_max=100_000, close_timeout_s=0.1)
    with (
        serving(limits, reports) as server,
        Peer(server.port, receive_buffer=SMALL) as slow,
        Peer(server.port) as good,
    ):
        slow.send(text("queue 20000"))
        assert reports.until("waiting")[1] <= 100_000 + 1024
        assert reports.until("closed")[1:] == (1013, "too slow a reader")
        good.send(text("queue 1"))
        assert good.frame() == (TEXT, b"*" * 1020)
        assert server.writes.behind == 0


def test_slow_reader_in_time() -> None:
    reports = Reports()
    limits = Limits(queue_bytes_max=1 << 26, behind_max_s=0.1, close_timeout_s=0.1)
    with serving(limits, reports) as server, Peer(server.port, receive_buffer=SMALL) as slow:
        slow.send(text("queue 20000"))
        assert reports.until("closed")[1] == 1013
        assert server.writes.behind == 0


def test_a_slow_reader_is_sent_more_when_it_reads_again() -> None:
    """Whole frames, then 1013, when what the transport holds can still be delivered."""
    reports = Reports()
    limits = Limits(queue_bytes_max=1 << 26, behind_max_s=0.05, close_timeout_s=DEADLINE_S)
    with serving(limits, reports) as server, Peer(server.port, receive_buffer=SMALL) as slow:
        slow.send(text("queue 20000"))
        reports.until("too slow")
        frames = []
        while (frame := slow.frame()) != (CLOSE, 1013):
            frames.append(frame)
        assert set(frames) == {(TEXT, b"*" * 1020)}
        slow.send(close(1013))
        assert slow.frame() is None


def test_reader_that_catches_up() -> None:
    reports = Reports()
    limits = Limits(queue_bytes_max=1 << 26)
    with serving(limits, reports) as server, Peer(server.port, receive_buffer=SMALL) as slow:
        slow.send(text("queue 20000"))
        reports.until("waiting")
        slow.send(text("queue 1"), ping(b"last"))
        for _ in range(20_001):
            assert slow.frame() == (TEXT, b"*" * 1020)
        assert slow.frame() == (PONG, b"last")
        reports.until("caught up")
        slow.send(close())
        assert list(slow.frames()) == [(CLOSE, 1000)]


def test_peer_that_pings_and_never_reads() -> None:
    """Pongs count too: their sum is bounded like that of any other frames."""
    reports = Reports()
    limits = Limits(queue_bytes_max=50_000, close_timeout_s=0.1)
    with serving(limits, reports) as server, Peer(server.port, receive_buffer=SMALL) as slow:
        flood = ping(b"*" * 125) * 1000
        with pytest.raises(OSError):
            while True:
                slow.send(flood)
        assert reports.until("closed")[1] == 1013


def test_kernel_holds_little_of_what_is_not_read() -> None:
    reports = Reports()
    with serving(Limits(send_buffer_bytes=65536), reports) as server, Peer(server.port):
        transport = reports.next()._transport
        sender = server.call(transport.get_extra_info, "socket")
        # Linux doubles what it is asked for.
        assert sender.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536
