"""An echo server, for the tests and for Autobahn: `python -m tests.websocket.echo`."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import picows
import uvloop

from hlfast.websocket.connection import Connection
from hlfast.websocket.limits import Limits
from hlfast.websocket.listener import Answer, listen
from hlfast.websocket.wire import binary_frame, text_frame
from hlfast.websocket.write_queue import WriteQueue
from tests.websocket.raw_client import DEADLINE_S, Peer

# Autobahn's largest message has 16 MiB (its section 9; 256 KiB elsewhere).
LIMITS = Limits(message_bytes_max=16 << 20, queue_bytes_max=32 << 20)


class Echo(Connection):
    """Sends back every message."""

    __slots__ = ()

    def on_text(self, text: str) -> None:
        self.send_text(text.encode())

    def on_binary(self, data: bytes) -> None:
        self.queue(binary_frame(data))


Factory = Callable[[picows.WSUpgradeRequest], Answer]


@dataclass
class Server:
    """A listener in a thread of its own, so that a test's client may block."""

    port: int
    loop: asyncio.AbstractEventLoop
    writes: WriteQueue

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What it returns in the listener's thread, where all of a connection lives."""

        async def run() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()


@contextmanager
def serving(
    limits: Limits = LIMITS,
    connection: Callable[[WriteQueue], Connection] = Echo,
    factory: Callable[[WriteQueue], Factory] | None = None,
    **options: Any,
) -> Iterator[Server]:
    """Serve `connection`s on a free port of 127.0.0.1, or what `factory` answers."""
    loop = uvloop.new_event_loop()
    writes = WriteQueue(limits)

    def accept(request: picows.WSUpgradeRequest) -> Answer:
        return Answer(picows.WSUpgradeResponse.create_101_response(), connection(writes))

    answers = factory(writes) if factory else accept
    made: list[Connection] = []

    def answer(request: picows.WSUpgradeRequest) -> Answer:
        answered = answers(request)
        if isinstance(answered.listener, Connection):
            made.append(answered.listener)
        return answered

    server = loop.run_until_complete(listen(answer, limits, "127.0.0.1", 0, **options))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Server(server.sockets[0].getsockname()[1], loop, writes)
    try:
        yield running
    finally:
        running.call(server.close)
        for one in made:
            running.call(one.abort)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def exchange(server: Server, *sent: bytes) -> list[Any]:
    """Every frame that comes back, until the server closes TCP."""
    with Peer(server.port) as peer:
        peer.send(*sent)
        return list(peer.frames())


class Reported(Echo):
    """Tells the test what happened to it, and does what a message says."""

    __slots__ = ("events",)

    def __init__(self, writes: WriteQueue, events: queue.Queue[Any]) -> None:
        super().__init__(writes)
        self.events = events

    def on_open(self) -> None:
        self.events.put(self)

    def on_text(self, text: str) -> None:
        verb, _, argument = text.partition(" ")
        match verb:
            case "close":
                self.send_text(b"before")
                self.close(int(argument), "because")
                self.close(1000)
                self.send_text(b"after")
            case "queue":
                frame = text_frame(b"*" * 1020)
                for _ in range(int(argument)):
                    self.queue(frame)
                self.events.put(("waiting", self._out_bytes))
            case "fail":
                raise ValueError(text)
            case _:
                self.events.put(text)

    def on_caught_up(self) -> None:
        self.events.put("caught up")

    def close_slow_reader(self) -> None:
        super().close_slow_reader()
        self.events.put("too slow")

    def on_closed(self, code: int, reason: str) -> None:
        self.events.put(("closed", code, reason))


class Reports:
    """A server of `Reported`, and what they report."""

    def __init__(self) -> None:
        self.events: queue.Queue[Any] = queue.Queue()

    def __call__(self, writes: WriteQueue) -> Reported:
        return Reported(writes, self.events)

    def next(self) -> Any:
        return self.events.get(timeout=DEADLINE_S)

    def until(self, kind: str) -> Any:
        """The next event of this kind."""
        while True:
            event = self.next()
            if event == kind or (isinstance(event, tuple) and event[0] == kind):
                return event


if __name__ == "__main__":
    with serving() as running:
        print(running.port, flush=True)
        threading.Event().wait()
