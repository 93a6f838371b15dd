"""What Autobahn's sections 1 to 7 and 10 check, in cases of our own, and what it does not.

Each case sends raw bytes and names every frame that comes back until the server closes TCP.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from hlfast.live.frames import close_frame, text_frame
from hlfast.live.joined_writes import JoinedWrites
from hlfast.live.rfc6455 import Connection, Limits
from tests.live.echo import Echo, Server, serving
from tests.live.raw_client import (
    BINARY,
    CLOSE,
    DEADLINE_S,
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

HELLO = text("hello")
HELLO_BACK = (TEXT, b"hello")


@pytest.fixture(scope="module")
def echo() -> Iterator[Server]:
    with serving(Limits(message_bytes_max=70_000)) as server:
        yield server


def exchange(server: Server, *sent: bytes) -> list[Any]:
    with Peer(server.port) as peer:
        peer.send(*sent)
        return list(peer.frames())


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
    """Never more than the bound is kept, and the end is not waited for."""
    sent = [client_frame(opcode, b"*" * 35_000, fin=False), ping(), more("*" * 35_000), more("*")]
    assert exchange(echo, *sent) == [(PONG, b""), (CLOSE, 1009)]


# UTF-8 (section 6)

VALID = [
    "κόσμε",
    "\0",
    "\x7f\x80\u07ff\u0800",
    "\ud7ff\ue000\ufffd\ufffe\uffff",
    "\U00010000\U0010fffe\U0010ffff",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "שלום 🙂 世界",
]
INVALID = """
80 bf c0 fe ff c080 c1bf c3 e28e e08080 e09fbf eda080 edafbf edb080 edbfbf f0808080 f08fbfbf
f4908080 f7bfbfbf f888808080 fc8480808080 cebae1bdb9cf83cebcceb5eda080656469
"""


@pytest.mark.parametrize("valid", VALID)
def test_valid_utf8_cut_anywhere(echo: Server, valid: str) -> None:
    octets = valid.encode()
    for cut in range(len(octets) + 1):
        sent = [text(octets[:cut], fin=False), ping(), more(octets[cut:], fin=True)]
        assert exchange(echo, *sent, close()) == [(PONG, b""), (TEXT, octets), (CLOSE, 1000)]
    sent = [text("", fin=False), *(more(octets[i : i + 1]) for i in range(len(octets)))]
    assert exchange(echo, *sent, more("", fin=True), close()) == [(TEXT, octets), (CLOSE, 1000)]


@pytest.mark.parametrize("octets", INVALID.split())
def test_invalid_utf8(echo: Server, octets: str) -> None:
    invalid = bytes.fromhex(octets)
    answers = [HELLO_BACK, (CLOSE, 1007)]
    assert exchange(echo, HELLO, text(b"ok " + invalid), HELLO) == answers
    one_by_one = [text(b"ok ", fin=False), *(more(bytes((octet,))) for octet in invalid)]
    assert exchange(echo, HELLO, *one_by_one, more("", fin=True), HELLO) == answers
    # In a binary message it is nobody's business.
    binary = [client_frame(BINARY, b"", fin=False), more(invalid, fin=True)]
    assert exchange(echo, *binary, close()) == [(BINARY, invalid), (CLOSE, 1000)]


@pytest.mark.parametrize("invalid", [b"\xff", b"\xf4\x90", b"\xed\xa0"])
def test_invalid_utf8_fails_at_once(echo: Server, invalid: bytes) -> None:
    """The message never ends, the connection does."""
    assert exchange(echo, text("κόσμε", fin=False), more(invalid)) == [(CLOSE, 1007)]
    octets = [more(bytes((octet,))) for octet in invalid]
    assert exchange(echo, text("κόσμε", fin=False), *octets) == [(CLOSE, 1007)]


def test_text_that_ends_within_a_character(echo: Server) -> None:
    assert exchange(echo, text(b"\xce", fin=False), more("", fin=True)) == [(CLOSE, 1007)]


# Closing (section 7)

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000]


@pytest.mark.parametrize("code", [*CODES, 4429, 4999])
def test_close_is_answered_alike(echo: Server, code: int) -> None:
    assert exchange(echo, close(code, "été".encode())) == [(CLOSE, code)]


def test_close_without_a_code(echo: Server) -> None:
    assert exchange(echo, close(None)) == [(CLOSE, None)]


def test_close_with_the_longest_reason(echo: Server) -> None:
    assert exchange(echo, close(1000, b"*" * 123)) == [(CLOSE, 1000)]


BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", BAD_CODES)
def test_close_with_a_bad_code(echo: Server, code: int) -> None:
    assert exchange(echo, HELLO, close(code)) == [HELLO_BACK, (CLOSE, 1002)]
    assert exchange(echo, close(code, b"reason")) == [(CLOSE, 1002)]


def test_close_with_half_a_code(echo: Server) -> None:
    assert exchange(echo, client_frame(CLOSE, b"\x03")) == [(CLOSE, 1002)]


def test_close_with_a_bad_reason(echo: Server) -> None:
    assert exchange(echo, close(1000, b"\xce\xba\xe1")) == [(CLOSE, 1007)]


@pytest.mark.parametrize(
    "after", [HELLO, ping(), close(), close(4000), client_frame(3), b"\0" * 99]
)
def test_nothing_after_a_close(echo: Server, after: bytes) -> None:
    assert exchange(echo, HELLO, close(), after) == [HELLO_BACK, (CLOSE, 1000)]


def test_close_within_a_message(echo: Server) -> None:
    assert exchange(echo, text("x", fin=False), close(), more("y", fin=True)) == [(CLOSE, 1000)]


# Our own side: what Autobahn cannot see


class Reported(Echo):
    """Tells the test what happened to it, and does what a message says."""

    __slots__ = ("events",)

    def __init__(self, writes: JoinedWrites, events: queue.Queue[Any]) -> None:
        super().__init__(writes)
        self.events = events

    def on_open(self) -> None:
        self.events.put(self)

    def on_text(self, text: str) -> None:
        verb, _, argument = text.partition(" ")
        match verb:
            case "close":
                self.send_text(b"before")
                self.close(int(argument), "because")
                self.close(1000)
                self.send_text(b"after")
            case "queue":
                frame = text_frame(b"*" * 1020)
                for _ in range(int(argument)):
                    self.queue(frame)
                self.events.put(("waiting", self._out_bytes))
            case "fail":
                raise ValueError(text)
            case _:
                self.events.put(text)

    def on_caught_up(self) -> None:
        self.events.put("caught up")

    def close_slow_reader(self) -> None:
        super().close_slow_reader()
        self.events.put("too slow")

    def on_closed(self, code: int, reason: str) -> None:
        self.events.put(("closed", code, reason))


class Reports:
    """A server of `Reported`, and what they report."""

    def __init__(self) -> None:
        self.events: queue.Queue[Any] = queue.Queue()

    def __call__(self, writes: JoinedWrites) -> Reported:
        return Reported(writes, self.events)

    def next(self) -> Any:
        return self.events.get(timeout=DEADLINE_S)

    def until(self, kind: str) -> Any:
        """The next event of this kind."""
        while True:
            event = self.next()
            if event == kind or (isinstance(event, tuple) and event[0] == kind):
                return event


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
)
def test_closed_is_told_once_with_the_code(sent: bytes, code: int, reason: str | None) -> None:
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
    assert "ValueError in a websocket's on_text" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_of_tokens_or_frames_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    logging.getLogger("picows").setLevel(1)
    reports = Reports()
    with serving(Limits(), reports) as server:
        with Peer(server.port, "/?token=secret", "Authorization: Bearer secret\r\n") as peer:
            connection = reports.next()
            protocol = server.call(connection._transport.get_protocol)
            assert not protocol.transport.request.headers
            assert not protocol.transport.request.path
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


# Joined writes


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
    """As much of a connection as JoinedWrites sees."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order = order
        self.name = name

    def flush(self) -> None:
        self.order.append(self.name)


def test_writing_is_done_in_slices() -> None:
    """With no time at all one connection is written in each turn, and others have theirs."""

    async def turns() -> list[str]:
        order: list[str] = []
        writes = JoinedWrites(Limits(slice_s=-1))
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
        writes = JoinedWrites(Limits(join_delay_s=3600))
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


def test_slow_reader_is_told_when_it_reads_again() -> None:
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


def test_long_reason_is_cut_at_a_character() -> None:
    frame = close_frame(1000, "é" * 100)
    assert len(frame) == 2 + 2 + 122
    assert frame[4:].decode() == "é" * 61


def test_connection_has_no_dict() -> None:
    """There will be ten thousand of them."""
    assert not hasattr(Connection(JoinedWrites(Limits())), "__dict__")
