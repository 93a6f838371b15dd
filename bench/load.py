"""A closed loop of keep-alive connections that checks every answer.

Each connection has one request under way and sends the next as soon as the answer is there and
right. Small enough to cost less than any server that it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, cast

# A server that has not answered by then never will.
_SILENCE_S = 60
# Between two looks whether a window has seen enough.
_LOOK_S = 0.05


class WrongAnswer(Exception):
    """A server answered something else than it must."""


class Exchange(Protocol):
    """One request and what its answer must be."""

    data: bytes

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""


@dataclass(slots=True)
class Tally:
    """What a window of time has seen. Latencies in seconds, from the write to the last byte."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Requests answered, each of them rightly."""
        return len(self.latencies_s)

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` (0..1) of the requests did not exceed, milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time."""

    def __init__(self, exchanges: Iterator[Exchange], run: Run) -> None:
        self._exchanges = exchanges
        self._run = run
        self._received = b""
        self._transport: asyncio.Transport
        self._exchange: Exchange
        self._sent_at = 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; once the answer is whole, check it and go on."""
        if self._received:
            data = self._received + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._received = data
            return
        try:
            end, body = whole(data, head_end)
        except ValueError as error:
            self._fail(error)
            return
        if end > len(data):
            self._received = data
            return
        now = time.perf_counter()
        try:
            if end < len(data):
                raise WrongAnswer(f"{len(data) - end} bytes too many: {data[:2000]!r}")
            self._exchange.accept(int(data[9:12]), body)
        except Exception as error:
            self._fail(error)
            return
        self._received = b""
        self._run.tally.latencies_s.append(now - self._sent_at)
        if self._run.stopping:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """The end, or the server's hanging up."""
        if not self.closed.done():
            if self._run.stopping and error is None:
                self.closed.set_result(None)
            else:
                self.closed.set_exception(error or WrongAnswer("The server hung up."))

    def _send(self) -> None:
        exchange = next(self._exchanges, None)
        if exchange is None:
            # A finite source: this connection has asked all that it had to.
            self.closed.set_result(None)
            self._transport.close()
            return
        self._exchange = exchange
        self._sent_at = time.perf_counter()
        self._transport.write(exchange.data)

    def _fail(self, error: Exception) -> None:
        if not self.closed.done():
            self.closed.set_exception(error)
        self._transport.abort()


def whole(data: bytes, head_end: int) -> tuple[int, bytes]:
    """Where an answer ends, as far as is known, and its body if it is there up to its end.

    The end lies beyond the data while something is missing.
    """
    head = data[:head_end].lower()
    start = head_end + 4
    name_at = head.find(b"\r\ncontent-length:")
    if name_at >= 0:
        line_end = data.find(b"\r\n", name_at + 17)
        return start + int(data[name_at + 17 : line_end]), data[start:]
    if b"\r\ntransfer-encoding: chunked" not in head:
        return start, b""
    parts = []
    while (line_end := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:line_end].partition(b";")[0], 16)
        start = line_end + 2 + size + 2
        if start > len(data):
            break
        if size == 0:
            return start, b"".join(parts)
        parts.append(data[line_end + 2 : start - 2])
    return len(data) + 1, b""


@dataclass(slots=True)
class Run:
    """What the connections of one run share."""

    tally: Tally = field(default_factory=Tally)
    stopping: bool = False


async def exhaust(port: int, sources: Sequence[Iterator[Exchange]]) -> None:
    """Send every exchange of finite sources, one connection for each.

    Raises WrongAnswer, and TimeoutError for a server that falls silent.
    """
    run = Run()
    connections = asyncio.gather(*[_connect(port, source, run) for source in sources])
    answered = -1
    try:
        while not connections.done():
            if run.tally.requests == answered:
                raise TimeoutError(f"port {port} has answered nothing for {_SILENCE_S} s")
            answered = run.tally.requests
            await _sleep_unless_done(_SILENCE_S, connections)
    except BaseException:
        connections.cancel()
        with suppress(BaseException):
            await connections
        raise


async def measure(
    port: int,
    sources: Sequence[Iterator[Exchange]],
    *,
    warm_up_s: float,
    seconds: float,
    mark: Callable[[], None],
    run: Run | None = None,
    requests_min: int = 1,
) -> Tally:
    """One window of `seconds` after a warm-up, one connection for each source.

    It ends earlier when every source has, and later if there were less than `requests_min`: a cost
    is that of a request, however slow the machine is.
    `mark` is called at the window's beginning and end; in between, `run` has the tally so far. All
    requests are answered when this returns. Raises WrongAnswer for the first one that is not
    answered rightly.
    """
    run = run or Run()
    connections = asyncio.gather(*[_connect(port, source, run) for source in sources])
    try:
        await _sleep_unless_done(warm_up_s, connections)
        mark()
        begun, run.tally = time.perf_counter(), Tally()
        await _sleep_unless_done(seconds, connections)
        async with asyncio.timeout(_SILENCE_S):
            while run.tally.requests < requests_min and not connections.done():
                await _sleep_unless_done(_LOOK_S, connections)
        mark()
        tally, tally_after = run.tally, Tally()
        tally.seconds = time.perf_counter() - begun
        run.tally, run.stopping = tally_after, True
        async with asyncio.timeout(_SILENCE_S):
            await connections
    except BaseException:
        # What they raise then is of no interest.
        connections.cancel()
        with suppress(BaseException):
            await connections
        raise
    return tally


async def _connect(port: int, source: Iterator[Exchange], run: Run) -> None:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(source, run), "127.0.0.1", port
    )
    await connection.closed


async def _sleep_unless_done(seconds: float, connections: asyncio.Future[list[None]]) -> None:
    """Raises what a connection raised meanwhile."""
    await asyncio.wait([connections], timeout=seconds)
    if connections.done():
        await connections
