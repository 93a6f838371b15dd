"""A door to PostgreSQL that counts what goes through it."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SOCKET = ".s.PGSQL.5432"
# The startup packet has no type byte.
_STARTUP = "startup"


class Wire:
    """Listens in `directory` for connections to the server in `behind`.

    `messages` counts what clients send by its type: `P` Parse, `B` Bind, `E` Execute, `S` Sync,
    `Q` simple query. Each Sync and each simple query is a round trip, but for those of `unasked`:
    texts of statements that no request waits for.
    """

    def __init__(self, directory: Path, behind: Path, unasked: Collection[str] = ()) -> None:
        self.directory = directory
        self._behind = str(behind / SOCKET)
        self.messages: Counter[str] = Counter()
        self.parsed: list[str] = []
        self._unasked = unasked
        # asyncpg's names of them, which are its process's own.
        self._unasked_names: set[bytes] = set()
        self._unasked_binds = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = []

    @property
    def round_trips(self) -> int:
        """How often a client waited for the server."""
        with self._lock:
            return self.messages["S"] + self.messages["Q"] - self._unasked_binds

    def __enter__(self) -> Self:
        self._listener.bind(str(self.directory / SOCKET))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._behind)
                self._open += [client, server]
                for target, ends in (
                    (self._count, (client, server)),
                    (self._copy, (server, client)),
                ):
                    threading.Thread(target=target, args=ends, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _count(self, client: socket.socket, server: socket.socket) -> None:
        waiting = b""
        typed = 0
        with suppress(OSError):
            while data := client.recv(65536):
                waiting += data
                while len(waiting) >= typed + 4:
                    # The length counts itself but not the type.
                    size = typed + int.from_bytes(waiting[typed : typed + 4])
                    if len(waiting) < size:
                        break
                    message, waiting = waiting[:size], waiting[size:]
                    self._note(message if typed else b"")
                    typed = 1
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _note(self, message: bytes) -> None:
        with self._lock:
            self.messages[chr(message[0]) if message else _STARTUP] += 1
            if message[:1] == b"P":
                name, text, *_ = message[5:].split(b"\0")
                self.parsed.append(text.decode())
                if text.decode() in self._unasked:
                    self._unasked_names.add(name)
            elif message[:1] == b"B" and message[5:].split(b"\0")[1] in self._unasked_names:
                self._unasked_binds += 1
