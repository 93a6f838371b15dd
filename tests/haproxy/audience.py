"""Many sockets in one process, each of which stays: cut off, it comes back with its cursor."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from bench.crowd import Person
from hlfast import codec

_REQUEST = (
    "GET /ws?{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
_OPEN_AT_ONCE = 200
JITTER_S = 2.0
_POLL_S = 0.05
_WITHIN_S = 60.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for it. Raises TimeoutError."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            while not condition():
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(what) from None


class Listener(asyncio.Protocol):
    """One socket after the other of one person, through one door."""

    def __init__(self, port: int, person: Person) -> None:
        self._port, self.person = port, person
        self._coming: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._buffer = b""
        self._head = True
        self.node = ""
        self.cursor = ""
        # Event id -> id of the post, in the order in which they first came.
        self.posts: dict[str, int] = {}
        # How each socket ended: the code of its close frame, 0 if there was none.
        self.ends: list[int] = []
        self._code = 0
        self.refusals: list[bytes] = []
        self.recovered: list[bool] = []
        self.is_leaving = False

    async def come(self) -> None:
        """Connect and ask; the hello comes when it comes."""
        query = {"token": self.person.token} | ({"cursor": self.cursor} if self.cursor else {})
        self._buffer, self._head, self._code = b"", True, 0
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        self._transport.write(_REQUEST.format(query=urlencode(query)).encode())

    def leave(self) -> None:
        """Hang up."""
        self.is_leaving = True
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.node = ""
        if self.is_leaving:
            return
        self.ends.append(self._code)
        self._coming = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        await asyncio.sleep(random.uniform(0, JITTER_S))
        await self.come()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        place = 0
        if self._head:
            end = buffer.find(b"\r\n\r\n")
            if end >= 0:
                self._head = False
                place = end + 4
                if not buffer.startswith(b"HTTP/1.1 101"):
                    self.refusals.append(buffer)
        while not self._head and len(buffer) - place >= 2:
            length, start = buffer[place + 1], place + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                length, start = int.from_bytes(buffer[start : start + size], "big"), start + size
            if start + length > len(buffer):
                break
            self._frame(buffer[place], buffer[start : start + length])
            place = start + length
        self._buffer = buffer[place:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            self._transport.close()
        elif kind == _PING:
            head = bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0))
            self._transport.write(head + payload)
        elif kind == _TEXT:
            frame = codec.decode(payload)
            self.cursor = frame.get("cursor") or self.cursor
            if frame["type"] == "hello":
                self.node = frame["node"]
            elif frame["type"] == "resumed":
                self.recovered.append(frame["recovered"])
            elif frame["type"] == "post.created":
                self.posts.setdefault(frame["event_id"], frame["post"]["id"])


class Audience(list[Listener]):
    """All listeners, and what they saw."""

    async def come(self) -> None:
        """Connect each, beyond its hello."""
        for start in range(0, len(self), _OPEN_AT_ONCE):
            some = self[start : start + _OPEN_AT_ONCE]
            await asyncio.gather(*(listener.come() for listener in some))
            await until(lambda some=some: all(one.node for one in some), "a hello is missing")

    @property
    def nodes(self) -> Counter[str]:
        """How many are on which node."""
        return Counter(listener.node for listener in self)

    @property
    def ends(self) -> Counter[int]:
        """How many sockets ended with which code."""
        return Counter(code for listener in self for code in listener.ends)

    async def has_all(self, posts: Sequence[int]) -> None:
        """Wait until each has as many, then compare."""
        await until(
            lambda: all(len(listener.posts) >= len(posts) for listener in self),
            "somebody misses a post",
        )
        for listener in self:
            assert list(listener.posts.values()) == posts
