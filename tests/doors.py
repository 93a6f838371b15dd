"""Clients that keep a server waiting, over plain sockets."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

# Long enough for any deadline that a test sets, and for a machine that is busy.
DEADLINE_S = 30.0
# A byte comes so often: within every deadline, so that none that begins anew with each ends it.
_DRIP_S = 0.1

SILENT = {
    "nothing": b"",
    "a byte": b"P",
    "half a head": b"GET /api/v1/users/1 HTTP/1.1\r\nHost: test\r\nX-",
    "a preface of HTTP/2": b"PRI * HTTP/2.0",
    "a whole preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def connect(url: str, source: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
    """A connection from an address of this machine."""
    line = socket.socket()
    line.settimeout(DEADLINE_S)
    if receive_buffer:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    line.bind((source, 0))
    line.connect(("127.0.0.1", urlsplit(url).port))
    return line


def until_closed(line: socket.socket, drip: bytes = b"") -> bytes:
    """What comes until the server ends it; `drip` is sent again and again meanwhile.

    Raises TimeoutError when it does not end it.
    """
    received = b""
    deadline = time.monotonic() + DEADLINE_S
    line.settimeout(_DRIP_S)
    while time.monotonic() < deadline:
        try:
            data = line.recv(65536)
        except TimeoutError:
            if drip:
                try:
                    line.send(drip)
                except OSError:  # it has ended: what came before that is still to be read
                    drip = b""
            continue
        except ConnectionError:
            return received
        if not data:
            return received
        received += data
    raise TimeoutError("the connection was not ended")


def answer(line: socket.socket, request: bytes) -> bytes:
    """What comes at once for a whole request; empty when the server has ended the connection."""
    line.settimeout(DEADLINE_S)
    try:
        line.sendall(request)
        return line.recv(65536)
    except ConnectionError:
        return b""
