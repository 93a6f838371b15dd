"""A websocket client that sends any bytes at all, malformed ones above all."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
DEADLINE_S = 20.0

REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length_form: int | None = None,
) -> bytes:
    """A frame; `length_form` is the 7-bit length field (126 or 127 for the longer forms)."""
    size = len(payload)
    if length_form is None:
        length_form = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | length_form))
    if length_form >= 126:
        head += struct.pack(">H" if length_form == 126 else ">Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pad = (mask * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + mask + body.to_bytes(size, "big")


def text(payload: str | bytes, **options: Any) -> bytes:
    return client_frame(TEXT, payload.encode() if isinstance(payload, str) else payload, **options)


def more(payload: str | bytes, *, fin: bool = False) -> bytes:
    """A continuation."""
    return client_frame(0, payload.encode() if isinstance(payload, str) else payload, fin=fin)


def ping(payload: bytes = b"", **options: Any) -> bytes:
    return client_frame(PING, payload, **options)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


HELLO = text("hello")
HELLO_BACK = (TEXT, b"hello")


class Peer:
    """One connection. Frames read are `(opcode, payload)`, a close frame is `(CLOSE, code)`."""

    def __init__(self, port: int, target: str = "/", headers: str = "", **options: Any) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.get("receive_buffer"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
        self.socket.connect(("127.0.0.1", port))
        self._input = self.socket.makefile("rb")
        request = options.get("request", REQUEST).format(target=target, more=headers)
        self.send(request.encode("latin-1"), options.get("early", b""))
        self.status = int(self._input.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._input.readline().strip().decode():
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._input.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def frame(self) -> tuple[int, bytes | int | None] | None:
        """The next frame, or None when the server has closed TCP. A reset raises."""
        head = self._input.read(2)
        if len(head) < 2:
            return None
        assert head[0] & 0x70 == 0, "a reserved bit"
        assert head[0] & 0x80, "the server does not fragment"
        assert head[1] < 128, "a server's frames are not masked"
        size = head[1]
        if size >= 126:
            size = int.from_bytes(self._input.read(2 if size == 126 else 8), "big")
        payload = self._input.read(size)
        assert len(payload) == size
        if head[0] & 0xF == CLOSE:
            return CLOSE, int.from_bytes(payload[:2], "big") if payload else None
        return head[0] & 0xF, payload

    def frames(self) -> Iterator[tuple[int, bytes | int | None]]:
        """All frames until the server closes TCP."""
        while (frame := self.frame()) is not None:
            yield frame

    def body(self) -> bytes:
        """What follows the head of a refusal."""
        return self._input.read()
