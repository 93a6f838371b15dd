"""A listening socket whose connections are websockets, or streams of events."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import picows

# Not in picows' typed face, yet what its ws_create_server puts together: see `listen`.
from picows.picows import WSProtocol, _parse_http_request  # type: ignore[attr-defined]

from hlfast.addresses import Network
from hlfast.websocket.connection import Connection
from hlfast.websocket.event_stream import EventStream
from hlfast.websocket.handshakes import Handshakes
from hlfast.websocket.limits import Limits
from hlfast.websocket.outflow import Outflow

# picows logs every connection, its parser's errors and, at its debug level, whole requests. An
# adapter also saves the Logger that it would otherwise make for every connection.
_SILENCE = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})

# Given to `factory`: the answer to a handshake, with a Connection when it is 101.
Answer = picows.WSUpgradeResponseWithListener
Factory = Callable[[picows.WSUpgradeRequest], Answer]
# What answers the requests for a path: with a stream, or with a whole answer.
Streams = Mapping[bytes, Callable[[picows.WSUpgradeRequest], "EventStream | Answer"]]
# A whole answer to what is no request, from a status and a detail.
Refuse = Callable[[HTTPStatus, str], bytes]

_HEAD_END = b"\r\n\r\n"
# picows takes no longer head, and hangs up.
_HEAD_BYTES_MAX = 16 * 1024
_READ_ONLY = (b"GET", b"HEAD")
_OF_A_BODY = (b"content-length:", b"transfer-encoding:")


class Outgoing:
    """Stands where picows expects its transport, so that all it writes passes through here.

    picows parses the next frame before it delivers the present one. If the next is malformed it
    closes at once, ahead of whatever the present one is answered with; and it writes straight to
    the socket when nothing waits, ahead of what we have queued. Both are held to order here.
    """

    __slots__ = (
        "connection",
        "discards_input",
        "handshakes",
        "head",
        "is_answered",
        "refuse",
        "transport",
    )

    def __init__(
        self, transport: asyncio.Transport, refuse: Refuse, handshakes: Handshakes
    ) -> None:
        self.transport = transport
        self.handshakes = handshakes
        host, *_ = transport.get_extra_info("peername") or ("",)
        handshakes.begin(self, host)
        self.refuse = refuse
        # What came until the handshake was answered.
        self.head = b""
        self.is_answered = False
        self.connection: Outflow | None = None
        self.discards_input = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Never empty, as far as picows can see: else it would write to the socket itself."""
        return 1

    def answered(self) -> None:
        """What was asked for is known, and it counts as a handshake no more."""
        self.is_answered = True
        self.handshakes.end(self)
        self.head = b""

    def write(self, data: bytes | bytearray) -> None:
        """The handshake's answer, later a ping or the close frame of an error of the peer's."""
        connection = self.connection
        if connection is None:
            self.answered()
            if data.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" not in data:
                # picows' own words.
                data = self.refuse(HTTPStatus.BAD_REQUEST, "The request is malformed.")
            self.transport.write(data)
        elif data[0] & 0xF == 0x8 and isinstance(connection, Connection):
            self.discards_input = True
            reason = data[4:].decode("utf-8", "replace")
            connection.fail_soon(int.from_bytes(data[2:4], "big"), reason)
        else:
            connection.queue(bytes(data))

    def close(self) -> None:
        """A handshake was refused. Connections end themselves, in their own time.

        Unless something was answered, its head was too long, or too slow.
        """
        if self.connection is None:
            if len(self.head) >= _HEAD_BYTES_MAX:
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self.write(self.refuse(status, "The headers are too long."))
            elif self.head:
                status = HTTPStatus.REQUEST_TIMEOUT
                self.write(self.refuse(status, "The request took too long to arrive."))
            self.transport.close()

    def abort(self) -> None:
        """A ping was not answered, or others wait to connect."""
        self.transport.abort()


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol over an `Outgoing`; after a failure the input is read and forgotten.

    picows knows GET of HTTP/1.1 and nothing else: other requests are answered here, and so are
    those for event streams.
    """

    __slots__ = ("_outgoing", "factory", "handshakes", "refuse", "streams")

    factory: Factory
    refuse: Refuse
    handshakes: Handshakes
    streams: Streams

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._outgoing = Outgoing(transport, self.refuse, self.handshakes)
        super().connection_made(self._outgoing)

    def connection_lost(self, exc: Exception | None) -> None:
        self.handshakes.end(self._outgoing)
        super().connection_lost(exc)
        # A websocket got that from picows.
        if self._outgoing.connection is not None:
            self._outgoing.connection.lost()

    def buffer_updated(self, nbytes: int) -> None:
        outgoing = self._outgoing
        # To picows nothing has arrived: its buffer neither grows nor is parsed again.
        if outgoing.discards_input:
            return
        if not outgoing.is_answered:
            outgoing.head += bytes(self.get_buffer(-1)[:nbytes])
            start, ended, _ = outgoing.head.partition(_HEAD_END)
            line, _, fields = start.partition(b"\r\n")
            words = line.split(b" ")
            if ended and len(words) == 3:
                method, target, version = words
                is_plain = method == b"GET" and version == b"HTTP/1.1"
                if not is_plain or _path(target) in self.streams:
                    self._answer(method, target, version, fields)
                    return
        super().buffer_updated(nbytes)

    def pause_writing(self) -> None:
        if self._outgoing.connection is not None:
            self._outgoing.connection.pause_writing()

    def resume_writing(self) -> None:
        if self._outgoing.connection is not None:
            self._outgoing.connection.resume_writing()

    def _answer(self, method: bytes, target: bytes, version: bytes, fields: bytes) -> None:
        """What is no handshake, whatever its fields say: a version or a method of another kind."""
        outgoing = self._outgoing
        outgoing.discards_input = True
        try:
            if version not in (b"HTTP/1.0", b"HTTP/1.1"):
                raise RuntimeError
            if method not in _READ_ONLY:
                # They may announce a body, which picows does not take.
                lines = fields.split(b"\r\n")
                wanted = [line for line in lines if not line.lower().startswith(_OF_A_BODY)]
                fields = b"\r\n".join(wanted)
            request = _parse_http_request(b"GET %b HTTP/1.1\r\n%b" % (target, fields or b"X: "))
        except RuntimeError:
            answer = self.refuse(HTTPStatus.BAD_REQUEST, "The request is malformed.")
        else:
            request.method, request.version = method, version
            request.headers.popall("upgrade", None)
            made = self.streams.get(_path(target), self.factory)(request)
            if isinstance(made, EventStream):
                outgoing.answered()
                made.begin(outgoing)
                return
            made.response.headers["Connection"] = "close"
            answer = bytes(made.response.to_bytes())
        if method == b"HEAD":
            answer = answer.partition(_HEAD_END)[0] + _HEAD_END
        outgoing.write(answer)
        if method in _READ_ONLY:
            outgoing.close()
        else:
            # The rest of its body is read, or the answer might be lost with the connection; the
            # handshake's timeout ends it.
            outgoing.transport.write_eof()


def _path(target: bytes) -> bytes:
    return target.partition(b"?")[0]


def _bare(status: HTTPStatus, detail: str) -> bytes:
    return f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: 0\r\n\r\n".encode()


async def listen(
    factory: Factory,
    limits: Limits,
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    backlog: int = 1024,
    refuse: Refuse = _bare,
    trusted: Sequence[Network] = (),
    streams: Streams = MappingProxyType({}),
) -> asyncio.Server:
    """Accept websockets; `factory` answers each handshake, and `refuse` what is no request.

    Requests for the paths of `streams` are answered by those. None of them may raise, or picows
    sends its message to the client: see `upgrade.answer`. Raises OSError when the address is taken.
    The server's `close` stops accepting and leaves open connections alone.
    """
    handshakes = Handshakes(limits.handshakes_max, trusted)

    def protocol() -> _Protocol:
        made = _Protocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=factory,
            logger=_SILENCE,
            disconnect_on_exception=True,
            websocket_handshake_timeout=limits.handshake_timeout_s,
            # A task for each connection: see pings.py.
            enable_auto_ping=False,
            auto_ping_idle_timeout=None,
            auto_ping_reply_timeout=None,
            auto_ping_strategy=picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=limits.message_bytes_max,
            extra_headers=None,
            # The least that picows allows; it grows with the largest frame.
            read_buffer_init_size=2048,
        )
        made.factory, made.refuse = factory, refuse
        made.handshakes, made.streams = handshakes, streams
        return made

    # The loop's own transports, not those of aiofastnet, which picows takes by default: a quiet
    # connection holds 5.4 kB less. Whatever is written leaves at once with either, as long as
    # nothing waits and the high-water mark is 0.
    where: dict[str, Any] = {"host": host, "port": port} if sock is None else {"sock": sock}
    server = await asyncio.get_running_loop().create_server(
        protocol, **where, backlog=backlog, start_serving=False
    )
    for listening in server.sockets:
        # Connections inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
    await server.start_serving()
    return server
