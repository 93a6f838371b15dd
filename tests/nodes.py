"""Connections to websocket nodes, for the tests."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.ledger.frames import Frame, check

# Long enough for anything that comes at all.
DEADLINE_S = 30.0
PATH = "/api/v1/events"


class Receiver:
    """A connection of either wire, read frame by frame. Those of presence are put aside."""

    def __init__(self) -> None:
        self.presence: list[Frame] = []
        # What came while presence was waited for.
        self._others: deque[Frame] = deque()
        self.cursor = ""

    def frame(self) -> Frame:
        """The next one of any kind."""
        frame = self.read()
        self.cursor = frame.get("cursor", self.cursor)
        return frame

    def read(self) -> Frame:
        """The next one from the wire."""
        raise NotImplementedError

    def greeted(self) -> Frame:
        """The first frame, which is a hello."""
        frame = self.frame()
        assert frame["type"] == "hello"
        return frame

    def next(self) -> Frame:
        """The next one but those of presence."""
        if self._others:
            return self._others.popleft()
        while (frame := self.frame())["type"] == "presence":
            self.presence.append(frame)
        return frame

    def until(self, fits: Callable[[Frame], bool]) -> list[Frame]:
        """Those before the first that fits, which is read, too."""
        found = []
        while not fits(frame := self.next()):
            found.append(frame)
        return found

    def resumed(self) -> tuple[bool, list[Frame]]:
        """Whether it was recovered, and what was replayed."""
        replayed = self.until(lambda frame: "recovered" in frame and self._note(frame))
        return self.recovered, replayed

    def _note(self, frame: Frame) -> bool:
        self.recovered = bool(frame["recovered"])
        return True

    def presence_of(self, user_id: int, online: bool) -> None:
        """Wait until a friend is said to be there, or not."""
        wanted = {"type": "presence", "user_id": user_id, "online": online}
        while wanted not in self.presence:
            frame = self.frame()
            (self.presence if frame["type"] == "presence" else self._others).append(frame)


class Socket(Receiver):
    """One websocket, beyond its `hello`. Reading raises ConnectionClosed, TimeoutError."""

    def __init__(self, url: str, token: str, cursor: str | None = None, **options: Any) -> None:
        super().__init__()
        query = {"token": token} | ({} if cursor is None else {"cursor": cursor})
        self.connection = connect(
            f"{url}?{urlencode(query)}", open_timeout=DEADLINE_S, proxy=None, **options
        ).__enter__()
        self.hello = self.greeted()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def read(self) -> Frame:
        return check(self.connection.recv(timeout=DEADLINE_S))

    def say(self, frame: Frame | str | bytes) -> None:
        """Send a frame, or whatever it is."""
        self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    def closed(self) -> int:
        """Read to the end: the code that the node closed with."""
        try:
            while True:
                self.connection.recv(timeout=DEADLINE_S)
        except ConnectionClosed as end:
            assert end.rcvd is not None, "cut off"
            return int(end.rcvd.code)


class Stream(Receiver):
    """One event stream. Each event is held against what it is of: its type, and its cursor.

    `problem` is the answer's body where there is no stream.
    """

    def __init__(self, port: int, target: str = PATH, **options: Any) -> None:
        """Options: `method`, `version`, `early` (sent at once), `receive_buffer`; else headers."""
        super().__init__()
        method, version = options.pop("method", "GET"), options.pop("version", "1.1")
        early = options.pop("early", b"")
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if size := options.pop("receive_buffer", 0):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        self.socket.connect(("127.0.0.1", port))
        self._input = self.socket.makefile("rb")
        headers = {"Host": f"127.0.0.1:{port}"} | options
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        request = f"{method} {target} HTTP/{version}\r\n{lines}\r\n"
        self.socket.sendall(request.encode() + early)
        self.status = int(self._input.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._input.readline().strip().decode():
            name, _, text = line.partition(": ")
            self.headers[name.lower()] = text
        self.problem: Any = None
        self.comments = 0
        # When a browser comes back, in milliseconds.
        self.retry = 0
        if "json" in self.headers.get("content-type", ""):
            self.problem = json.loads(self._input.read(int(self.headers["content-length"])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self.socket.close()

    def read(self) -> Frame:
        """Raises EOFError at the end, TimeoutError."""
        fields: dict[str, str] = {}
        while True:
            line = self._line()
            if not line and "data" in fields:
                break
            name, _, text = line.partition(":")
            if not name:
                self.comments += bool(line)
            elif name == "retry":
                self.retry = int(text)
            else:
                fields[name] = text.removeprefix(" ")
        frame = check(fields["data"])
        assert fields["event"] == frame["type"]
        assert fields.get("id") == frame.get("cursor")
        return frame

    def comment(self) -> None:
        """Wait for a comment, with nothing else before it."""
        while not (line := self._line()):
            pass
        assert line.startswith(":")

    def ended(self) -> str:
        """Read to the end, which the last event has the reason of."""
        last: Frame = {}
        while True:
            try:
                last = self.frame()
            except EOFError:
                assert last["type"] == "error"
                return str(last["detail"])

    def _line(self) -> str:
        line = self._input.readline().decode()
        if not line:
            raise EOFError
        return line.rstrip("\n")
