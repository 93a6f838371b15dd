"""A listening socket whose connections are `rfc6455.Connection`s."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiofastnet
import picows

# Not in picows' typed face, yet what its ws_create_server puts together: see `listen`.
from picows.picows import WSProtocol  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from hlfast.live.rfc6455 import Connection, Limits

# picows logs every connection, its parser's errors and, at its debug level, whole requests. An
# adapter also saves the Logger that it would otherwise make for every connection.
_SILENCE = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})

# Given to `factory`: the answer to a handshake, with a Connection when it is 101.
Answer = picows.WSUpgradeResponseWithListener


class Outgoing:
    """Stands where picows expects its transport, so that all it writes passes through here.

    picows parses the next frame before it delivers the present one. If the next is malformed it
    closes at once, ahead of whatever the present one is answered with; and it writes straight to
    the socket when nothing waits, ahead of what we have queued. Both are held to order here.
    """

    __slots__ = ("connection", "discards_input", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.connection: Connection | None = None
        self.discards_input = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Never empty, as far as picows can see: else it would write to the socket itself."""
        return 1

    def write(self, data: bytes | bytearray) -> None:
        """The handshake's answer, later a ping or the close frame of an error of the peer's."""
        connection = self.connection
        if connection is None:
            self.transport.write(data)
        elif data[0] & 0xF == 0x8:
            self.discards_input = True
            reason = data[4:].decode("utf-8", "replace")
            connection.fail_soon(int.from_bytes(data[2:4], "big"), reason)
        else:
            connection.queue(bytes(data))

    def close(self) -> None:
        """A handshake was refused. Connections end themselves, in their own time."""
        if self.connection is None:
            self.transport.close()

    def abort(self) -> None:
        """A ping was not answered."""
        self.transport.abort()


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol over an `Outgoing`; after a failure the input is read and forgotten."""

    __slots__ = ("_outgoing",)

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._outgoing = Outgoing(transport)
        super().connection_made(self._outgoing)

    def buffer_updated(self, nbytes: int) -> None:
        # To picows nothing has arrived: its buffer neither grows nor is parsed again.
        if not self._outgoing.discards_input:
            super().buffer_updated(nbytes)


async def listen(
    factory: Callable[[picows.WSUpgradeRequest], Answer],
    limits: Limits,
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    backlog: int = 1024,
) -> asyncio.Server:
    """Accept websockets; `factory` answers each handshake.

    It must not raise, or picows sends its message to the client: see `handshake.answer`. Raises
    OSError when the address is taken. The server's `close` stops accepting and leaves open
    connections alone.
    """

    def protocol() -> _Protocol:
        return _Protocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=factory,
            logger=_SILENCE,
            disconnect_on_exception=True,
            websocket_handshake_timeout=limits.handshake_timeout_s,
            enable_auto_ping=limits.ping_idle_s is not None,
            auto_ping_idle_timeout=limits.ping_idle_s,
            auto_ping_reply_timeout=limits.ping_reply_s,
            auto_ping_strategy=picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=limits.message_bytes_max,
            extra_headers=None,
            # The least that picows allows; it grows with the largest frame.
            read_buffer_init_size=2048,
        )

    # aiofastnet comes with picows, which uses it by default: its transports write at once, without
    # asyncio's or uvloop's copies, and keep only what the kernel did not take.
    server = await aiofastnet.create_server(
        asyncio.get_running_loop(),
        protocol,
        host,
        port,
        sock=sock,
        backlog=backlog,
        start_serving=False,
    )
    for listening in server.sockets:
        # Connections inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
    await server.start_serving()
    return server
