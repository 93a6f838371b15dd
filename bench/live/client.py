"""Websocket clients that cost next to nothing: they count frames, and look at their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

_REQUEST = (
    "GET /ws?{query} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_EVENT = b'"event_id":"b'
_CURSOR = b'"cursor":"'
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
# Event ids are numbers of so many digits.
DIGITS = 9
OPEN_AT_ONCE = 500
DEADLINE_S = 120.0


class Wrong(Exception):
    """A frame was missing, too many, or out of order."""


def event_id(number: int) -> str:
    """What the clients look for."""
    return f"b{number:0{DIGITS}}"


class Client(asyncio.Protocol):
    """One socket. Events bear growing numbers: one that does not raises when it is looked at.

    `times` gets the arrival of each event, if it is a list.
    """

    __slots__ = (
        "_buffer",
        "_is_open",
        "close_code",
        "cursor",
        "events",
        "hello",
        "is_lost",
        "last",
        "others",
        "resumed",
        "times",
        "transport",
        "wrong",
    )

    def __init__(self, cursor: str = "", last: int = -1) -> None:
        """With a cursor it comes back."""
        self._buffer = b""
        self._is_open = False
        self.transport: Any = None
        self.hello: bytes = b""
        self.cursor = cursor
        self.events = 0
        self.others = 0
        self.last = last
        self.wrong = ""
        self.resumed: bool | None = None
        self.times: list[tuple[int, float]] | None = None
        self.close_code = 0
        self.is_lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        position = 0
        if not self._is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self.wrong = buffer[:200].decode("latin-1")
                return
            self._is_open = True
            position = end + 4
        size = len(buffer)
        while size - position >= 2:
            length, head = buffer[position + 1], 2
            if length == 126:
                length, head = int.from_bytes(buffer[position + 2 : position + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(buffer[position + 2 : position + 10], "big"), 10
            end = position + head + length
            if end > size:
                break
            self._frame(buffer, position, position + head, end)
            position = end
        self._buffer = buffer[position:]

    def _frame(self, buffer: bytes, position: int, start: int, end: int) -> None:
        found = buffer.find(_EVENT, start, min(end, start + 160))
        if found >= 0:
            found += len(_EVENT)
            number = int(buffer[found : found + DIGITS])
            if number <= self.last:
                self.wrong = self.wrong or f"{number} after {self.last}"
            self.last = number
            self.events += 1
            if self.times is not None:
                self.times.append((number, time.perf_counter()))
            self._note_cursor(buffer, start)
        elif buffer[position] == _TEXT:
            self._other(buffer[start:end])
        elif buffer[position] == _CLOSE:
            self.close_code = int.from_bytes(buffer[start : start + 2], "big")
            if not self.hello:
                reason = buffer[start + 2 : end].decode("utf-8", "replace")
                self.wrong = f"closed before the hello: {self.close_code} {reason}"
            self.transport.close()
        elif buffer[position] == _PING:
            self.transport.write(bytes((0x8A, 0x80 | end - start, 0, 0, 0, 0)) + buffer[start:end])

    def _note_cursor(self, buffer: bytes, start: int) -> None:
        begin = buffer.find(_CURSOR, start) + len(_CURSOR)
        self.cursor = buffer[begin : buffer.index(b'"', begin)].decode()

    def _other(self, payload: bytes) -> None:
        self.others += 1
        if payload.startswith(b'{"type":"hello"'):
            self.hello = payload
            if not self.cursor:
                self._note_cursor(payload, 0)
        elif payload.startswith(b'{"type":"resumed"'):
            self.resumed = b"true" in payload

    def say(self, text: bytes) -> None:
        """Send a short text, with a mask of zeros."""
        self.transport.write(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text)


async def open_one(port: int, token: str, client: Client | None = None) -> Client:
    """Connect and ask; the hello comes when it comes. A client that was away brings its cursor."""
    client = client or Client()
    query = {"token": token} | ({"cursor": client.cursor} if client.cursor else {})
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: client, "127.0.0.1", port)
    client.transport.write(_REQUEST.format(query=urlencode(query)).encode())
    return client


async def open_all(
    port: int, tokens: Sequence[str], clients: Sequence[Client] | None = None
) -> list[Client]:
    """All of them, beyond their hello."""
    found: list[Client] = []
    for start in range(0, len(tokens), OPEN_AT_ONCE):
        opening = [
            open_one(port, token, clients[number] if clients else None)
            for number, token in enumerate(tokens[start : start + OPEN_AT_ONCE], start)
        ]
        some = await asyncio.gather(*opening)
        found += some
        await until(lambda some=some: all(one.hello or one.wrong for one in some), some)
    return found


async def until(condition: Any, clients: Sequence[Client] = ()) -> None:
    """Wait for it. Raises Wrong when it does not come, or when one of the clients saw a mistake."""
    deadline = time.perf_counter() + DEADLINE_S
    while not condition():
        if time.perf_counter() > deadline:
            raise Wrong("what was waited for did not come")
        await asyncio.sleep(0.0005)
    for client in clients:
        if client.wrong:
            raise Wrong(client.wrong)
