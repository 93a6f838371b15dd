"""An open loop: requests leave at a fixed rate, whatever comes back.

One thread around epoll, on keep-alive connections: with thousands of them under way it costs less
than a loop of callbacks would. A request that finds no connection free is not sent, and counted.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench.load import WrongAnswer, whole

# Requests sent between two looks at what has arrived.
_SENT_AT_ONCE_MAX = 64
_EVENTS_MAX = 512
_RECEIVED_BYTES_MAX = 65536
_CLOSED_LOOP_LOOK_S = 0.01
# What must be in the head of each 503 (Granian writes names in lower case).
_OF_REFUSALS = (
    b"\r\nretry-after: ",
    b"\r\nx-request-id: ",
    b"\r\ncontent-type: application/problem+",
)


class Exchange(Protocol):
    """One request of a kind, what its answer must be, and what becomes of it otherwise."""

    data: bytes
    kind: str

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""

    def refused(self, body: bytes) -> None:
        """Take an answer of 503."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one request: when it was due (seconds, perf_counter), and how long it took.

    `latency_s` is from there to the answer's last byte. `status`: 0 without an answer.
    """

    due: float
    latency_s: float
    status: int
    kind: str


@dataclass(slots=True)
class Window:
    """What a window of time has seen; of requests that were due in it."""

    begun: float
    ended: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    # How late each request left.
    lags_s: list[float] = field(default_factory=list)
    # Due, but no connection was free.
    unsent: int = 0
    hung_up: int = 0
    busy_s: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.begun

    def good(self) -> list[Outcome]:
        """The outcomes of requests that were answered with success, each rightly."""
        return [one for one in self.outcomes if 200 <= one.status < 300]

    def refusals(self) -> list[Outcome]:
        """503, each with Retry-After."""
        return [one for one in self.outcomes if one.status == 503]

    def others(self) -> Counter[int]:
        """How often each other status came; 0 is no answer."""
        return Counter(
            one.status for one in self.outcomes if one.status != 503 and not 200 <= one.status < 300
        )


def percentile_ms(found: list[float], share: float) -> float:
    """What `share` (0..1) of these seconds do not exceed, in milliseconds; 0 of none."""
    ordered = sorted(found)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3 if ordered else 0.0


class _Connection:
    __slots__ = ("due", "exchange", "received", "socket", "window")

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.received = b""
        self.exchange: Exchange | None = None
        self.due = 0.0
        self.window: Window


class OpenLoop:
    """Connections to one server, open from window to window."""

    def __init__(self, port: int, connections: int, exchanges: Iterator[Exchange]) -> None:
        self._port = port
        self._exchanges = exchanges
        self._chance = random.Random(7)
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._free: deque[_Connection] = deque()
        for _ in range(connections):
            self._open()

    @property
    def under_way(self) -> int:
        """Requests sent and not answered."""
        return len(self._connections) - len(self._free)

    def run(
        self,
        rate_per_s: float,
        seconds: float,
        meanwhile: Callable[[float], None] = lambda _: None,
    ) -> Window:
        """Poisson arrivals. Answers that come later count in the window all the same.

        `meanwhile` is called over and over with the seconds since the beginning. Raises
        WrongAnswer.
        """
        busy_before = time.process_time()
        begun = due = time.perf_counter()
        window = Window(begun)
        end = begun + seconds
        gap = self._chance.expovariate
        while True:
            now = time.perf_counter()
            sent = 0
            while due <= now and due < end and sent < _SENT_AT_ONCE_MAX:
                self._send(window, due)
                due += gap(rate_per_s)
                sent += 1
            if due >= end and now >= end:
                break
            self._receive(0.0 if due <= now else min(due, end) - now)
            meanwhile(now - begun)
        window.ended = end
        window.busy_s = time.process_time() - busy_before
        return window

    def closed(self, connections: int, seconds: float) -> Window:
        """A closed loop with so many requests under way. Raises WrongAnswer."""
        busy_before = time.process_time()
        window = Window(time.perf_counter())
        end = window.begun + seconds
        while (now := time.perf_counter()) < end:
            while self.under_way < connections:
                self._send(window, time.perf_counter())
            self._receive(min(_CLOSED_LOOP_LOOK_S, end - now))
        window.ended = time.perf_counter()
        window.busy_s = time.process_time() - busy_before
        # Answers that come later are not of this window's throughput.
        return replace(window, outcomes=list(window.outcomes))

    def drain(self, patience_s: float) -> None:
        """Wait for what is under way; what does not come is an outcome of status 0."""
        deadline = time.perf_counter() + patience_s
        while self.under_way and time.perf_counter() < deadline:
            self._receive(_CLOSED_LOOP_LOOK_S)
        for connection in list(self._connections.values()):
            if connection.exchange is not None:
                self._lose(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.socket.close()
        self._poll.close()

    def _open(self) -> None:
        opened = socket.create_connection(("127.0.0.1", self._port))
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(opened)
        self._connections[opened.fileno()] = connection
        self._poll.register(opened.fileno(), select.EPOLLIN)
        self._free.append(connection)

    def _send(self, window: Window, due: float) -> None:
        if not self._free:
            window.unsent += 1
            return
        connection = self._free.popleft()
        connection.exchange = exchange = next(self._exchanges)
        connection.due = due
        connection.window = window
        window.lags_s.append(time.perf_counter() - due)
        try:
            connection.socket.send(exchange.data)
        except OSError:
            self._lose(connection)

    def _receive(self, timeout_s: float) -> None:
        for descriptor, _ in self._poll.poll(timeout_s, _EVENTS_MAX):
            connection = self._connections[descriptor]
            try:
                data = connection.socket.recv(_RECEIVED_BYTES_MAX)
            except OSError:
                data = b""
            if not data:
                self._lose(connection)
                continue
            if connection.received:
                data = connection.received + data
            self._take(connection, data)

    def _take(self, connection: _Connection, data: bytes) -> None:
        """What has arrived; once the answer is whole, check it."""
        head_end = data.find(b"\r\n\r\n")
        end, body = whole(data, head_end) if head_end >= 0 else (len(data) + 1, b"")
        missing = end - len(data)
        if missing > 0:
            connection.received = data
            return
        now = time.perf_counter()
        exchange = connection.exchange
        if missing < 0 or exchange is None:
            raise WrongAnswer(f"Bytes that nobody asked for: {data[:2000]!r}")
        status = int(data[9:12])
        if status == 503:
            head = data[: head_end + 2]
            if not all(line in head for line in _OF_REFUSALS):
                raise WrongAnswer(f"A 503 that lacks something: {data!r}")
            exchange.refused(body)
        else:
            exchange.accept(status, body)
        connection.window.outcomes.append(
            Outcome(connection.due, now - connection.due, status, exchange.kind)
        )
        connection.received = b""
        connection.exchange = None
        self._free.append(connection)

    def _lose(self, connection: _Connection) -> None:
        """Replace a connection that was closed, or never answers."""
        exchange = connection.exchange
        if exchange is None:
            self._free.remove(connection)
        else:
            connection.window.hung_up += 1
            connection.window.outcomes.append(
                Outcome(connection.due, time.perf_counter() - connection.due, 0, exchange.kind)
            )
        self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        self._open()
