"""An echo server on `hlfast.live`, for the tests and for Autobahn: `python -m tests.live.echo`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import picows
import uvloop

from hlfast.live.frames import binary_frame
from hlfast.live.joined_writes import JoinedWrites
from hlfast.live.listen import Answer, listen
from hlfast.live.rfc6455 import Connection, Limits

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
    writes: JoinedWrites

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What it returns in the listener's thread, where all of a connection lives."""

        async def run() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()


@contextmanager
def serving(
    limits: Limits = LIMITS,
    connection: Callable[[JoinedWrites], Connection] = Echo,
    factory: Callable[[JoinedWrites], Factory] | None = None,
) -> Iterator[Server]:
    """Serve `connection`s on a free port of 127.0.0.1, or what `factory` answers."""
    loop = uvloop.new_event_loop()
    writes = JoinedWrites(limits)

    def accept(request: picows.WSUpgradeRequest) -> Answer:
        return Answer(picows.WSUpgradeResponse.create_101_response(), connection(writes))

    answers = factory(writes) if factory else accept
    server = loop.run_until_complete(listen(answers, limits, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Server(server.sockets[0].getsockname()[1], loop, writes)
    try:
        yield running
    finally:
        running.call(server.close)
        running.call(server.abort_clients)  # type: ignore[attr-defined] # aiofastnet's own Server
        asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


if __name__ == "__main__":
    with serving() as running:
        print(running.port, flush=True)
        threading.Event().wait()
