"""Sockets to websocket nodes, for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.ledger.frames import Frame, check

# Long enough for anything that comes at all.
DEADLINE_S = 30.0


class Socket:
    """One connection, beyond its `hello`. Frames of presence are put aside in `presence`."""

    def __init__(self, url: str, token: str, cursor: str | None = None, **options: Any) -> None:
        query = {"token": token} | ({} if cursor is None else {"cursor": cursor})
        self.presence: list[Frame] = []
        self.connection = connect(
            f"{url}?{urlencode(query)}", open_timeout=DEADLINE_S, proxy=None, **options
        ).__enter__()
        self.hello = self.frame()
        assert self.hello["type"] == "hello"
        self.cursor: str = self.hello["cursor"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def frame(self) -> Frame:
        """The next one of any kind. Raises ConnectionClosed, TimeoutError."""
        frame = check(self.connection.recv(timeout=DEADLINE_S))
        self.cursor = frame.get("cursor", getattr(self, "cursor", ""))
        return frame

    def next(self) -> Frame:
        """The next one but those of presence."""
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
            self.presence.append(self.frame())

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
