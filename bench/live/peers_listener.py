"""Websocket clients that keep every byte: what each got is compared whole, not only counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.live.client import Wrong

_REQUEST = (
    "GET /ws?{query} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_TEXT = 0x81
_OPENED_AT_ONCE = 100
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Wire:
    """How listeners ask for frames, and how these come.

    `texts` takes what was received apart, and raises Wrong; `end` stands behind the last text.
    """

    request: str
    texts: Callable[[bytes | bytearray], list[bytes]]
    end: bytes


class Audience:
    """All sockets to one server, and what they wait for."""

    def __init__(self, request: str = _REQUEST) -> None:
        self._request = request
        self.listeners: list[Listener] = []
        self._is_complete: Callable[[bytearray], bool] = lambda _: False
        self._missing = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, port: int, queries: Sequence[str]) -> None:
        """Connect, one socket for each query; return once each was greeted and nothing comes."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(queries), _OPENED_AT_ONCE):
            some = queries[start : start + _OPENED_AT_ONCE]
            self.expect(len(some), lambda received: b'"hello"' in received)
            for query in some:
                _, listener = await loop.create_connection(
                    lambda: Listener(self), "127.0.0.1", port
                )
                self.listeners.append(listener)
                listener.transport.write(self._request.format(query=query).encode())
            await self.arrived()
        seen = -1
        while seen != (now := sum(len(one.received) for one in self.listeners)):
            seen = now
            await asyncio.sleep(1)
        self.clear()

    def expect(self, sockets: int, is_complete: Callable[[bytearray], bool]) -> None:
        """So many sockets will have something that is complete."""
        self._missing = sockets
        self._is_complete = is_complete
        self._done = asyncio.get_running_loop().create_future()

    async def arrived(self) -> None:
        """Wait for that. Raises Wrong."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._done
        except TimeoutError:
            raise Wrong(f"{self._missing} sockets still wait for their frames") from None

    def took(self, listener: Listener) -> None:
        """Note that something came."""
        if not listener.at and self._is_complete(listener.received):
            listener.at = time.perf_counter()
            self._missing -= 1
            if not self._missing:
                self._done.set_result(None)

    def lost(self) -> None:
        """Note that a connection ended."""
        if not self._done.done():
            self._done.set_exception(Wrong("a server closed a connection"))

    def clear(self) -> None:
        """Forget what has come so far."""
        for listener in self.listeners:
            listener.received.clear()
            listener.at = 0.0

    def close(self) -> None:
        """Cut all connections."""
        for listener in self.listeners:
            listener.is_leaving = True
            listener.transport.abort()


class Listener(asyncio.Protocol):
    """One socket. `at` is when what its audience waits for was complete; 0 until then."""

    __slots__ = ("_audience", "at", "is_leaving", "received", "transport")

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self.received = bytearray()
        self.at = 0.0
        self.is_leaving = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._audience.took(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_leaving:
            self._audience.lost()


def texts(received: bytes | bytearray) -> list[bytes]:
    """The texts of whole, unmasked, unfragmented frames. Raises Wrong for anything else."""
    found, position = [], 0
    while position < len(received):
        if received[position] != _TEXT:
            raise Wrong(f"no frame of text: {bytes(received[position : position + 200])!r}")
        length, head = received[position + 1], 2
        if length == 126:
            length, head = int.from_bytes(received[position + 2 : position + 4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(received[position + 2 : position + 10], "big"), 10
        end = position + head + length
        if end > len(received):
            raise Wrong("a frame is not whole")
        found.append(bytes(received[position + head : end]))
        position = end
    return found


WEBSOCKET = Wire(_REQUEST, texts, b"")


class Asker(asyncio.Protocol):
    """A keep-alive HTTP connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: Any = None
        self._answered: asyncio.Future[tuple[float, bytes]]

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future[tuple[float, bytes]]:
        """When the 201 was there, and its body. Raises Wrong for another answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(one[15:]) for one in lines if one.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self._received = b""
        if lines[0].split()[1] == b"201":
            self._answered.set_result((time.perf_counter(), body))
        else:
            self._answered.set_exception(Wrong(f"{lines[0]!r}: {body[:500]!r}"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(Wrong("the server hung up on a request"))

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()


async def asker(port: int) -> Asker:
    """A connection that asks, once it is open."""
    loop = asyncio.get_running_loop()
    _, found = await loop.create_connection(Asker, "127.0.0.1", port)
    return found
