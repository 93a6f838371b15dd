"""Requests byte by byte, for what a well-behaved client never sends."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


def ask(url: str, *parts: bytes, method: str = "GET") -> Answer:
    """The answer to a request sent as these bytes, which need not be complete."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # refused, and closed, before the end
                break
        response = HTTPResponse(connection, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def get(url: str, target: bytes, *headers: bytes, method: str = "GET") -> Answer:
    """The answer to a request for a target (path and query) of any bytes."""
    start = method.encode() + b" " + target + b" HTTP/1.1"
    lines = [start, b"Host: test", b"Connection: close", *headers, b"", b""]
    return ask(url, b"\r\n".join(lines), method=method)


def leave(url: str, part: bytes) -> None:
    """Send a part of a request and close the connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(part)


def ask_all(url: str, part: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(part)
        while data := connection.recv(65536):
            received += data
    return received
