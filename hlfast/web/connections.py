"""The API's client connections: those that only wait, and those of one address, have a bound.

Granian accepts connections and parses HTTP. It ends a connection that brings no whole head in time,
but by the same limit that a kept-alive one may be idle for, which has to be long; and it knows no
deadline of a body or of an answer that nobody takes. So a process looks at its own sockets: what
the kernel counts of each (TCP_INFO) tells a connection that is served from one that is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import stat
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from fcntl import ioctl
from operator import itemgetter
from termios import TIOCOUTQ

from hlfast import addresses
from hlfast.addresses import Network
from hlfast.settings import Settings
from hlfast.web.problems import CONTENT_TYPE, problem
from hlfast.web.request import Head

logger = logging.getLogger(__name__)

# A client as Granian has it in the scope: host and port, which is a text there.
Client = tuple[str, str]

# struct tcp_info of linux/tcp.h: state, unacknowledged segments (of a listening socket: connections
# that wait to be accepted), bytes acknowledged, bytes received, bytes not sent yet.
_INFO = struct.Struct("=B23xI92xQQ8xI")
_LISTEN = 10
# As numbers: the enumerations cost more than the question.
_IPV4, _STREAM, _TCP = int(socket.AF_INET), int(socket.SOCK_STREAM), socket.IPPROTO_TCP
_TCP_INFO = getattr(socket, "TCP_INFO", 0)
# Longest pause between two looks at all sockets, of which 4,000 cost some 25 ms. A deadline is met
# to within one pause.
_LOOK_S = 2.0
_LOOKS_PER_DEADLINE = 4
# Sockets looked at in one turn of the loop: about half a millisecond.
_SLICE = 100
_FILES = "/proc/self/fd"
# Idle for so long, a connection may be cut for one that waits: of an address above its share
# (its request, if it has one, has been seen by then), and of whoever has it.
_IDLE_S = 0.2
_IDLE_LONG_S = 1.0
# Stands for every proxy that is trusted.
_TRUSTED = "trusted"


# The requests under way, each with its connection's client, in the order in which they began. A
# connection of HTTP/1 has one at a time, but the next one may begin a moment before the last one
# has ended here. It is written by every request and read by the clock: so it is cheap to write.
UnderWay = dict[Head, Client]


class _Connection:
    """What was seen of one socket. Times are of the monotonic clock."""

    __slots__ = (
        "acked",
        "address",
        "body",
        "body_since",
        "client",
        "idle_since",
        "inode",
        "part_since",
        "received",
        "unread_since",
        "unread_until",
    )

    def __init__(self, inode: int, client: Client, address: str, now: float) -> None:
        self.inode = inode
        self.client = client
        self.address = address
        self.acked = 0
        # What had come when it was last served; more is a part of a request.
        self.received = 0
        self.idle_since = now
        self.part_since = 0.0
        self.body: Head | None = None
        self.body_since = 0.0
        # The answer's last byte, counted as `acked` is, and since when it waits to be taken.
        self.unread_until = 0
        self.unread_since = 0.0

    def served(self, now: float, received: int) -> None:
        """Wait for the next request from `now` on, after so many bytes received."""
        self.received = received
        self.idle_since = now
        self.part_since = 0.0


class ConnectionWatch:
    """Cuts the connections of this process that keep it waiting for longer than the settings say.

    `run` does it. A proxy that is trusted has no share: it speaks for many.
    """

    def __init__(self, settings: Settings, under_way: UnderWay, trusted: Sequence[Network]) -> None:
        self._under_way = under_way
        # The same by client, as of this turn of the loop.
        self._requests: dict[Client, Head] = {}
        self._trusted = trusted
        self._port = settings.http_port
        self._connections_max = settings.connections_max
        self._head_s = settings.head_timeout_s
        self._body_s = settings.body_timeout_s
        self._unread_s = settings.answer_timeout_s
        # Streams of HTTP/2 come and go within a connection, unseen from here.
        self._only_first = settings.http2
        self._connections: dict[int, _Connection] = {}
        # Descriptor and inode of what is no connection of a client's.
        self._others: dict[int, int] = {}
        self._listening: dict[int, int] = {}
        # Since the start.
        self.cut = 0

    async def run(self) -> None:
        """Until cancelled. Where the kernel does not tell (it is not Linux), do nothing."""
        if sys.platform != "linux":
            return
        deadlines = (self._head_s, self._body_s, self._unread_s)
        pause_s = min(_LOOK_S, *(deadline / _LOOKS_PER_DEADLINE for deadline in deadlines))
        while True:
            try:
                await self._look()
            except OSError as error:
                logger.warning("Cannot look at connections: %s", error)
            await asyncio.sleep(pause_s / _LOOKS_PER_DEADLINE if self._waiting() else pause_s)

    async def _look(self) -> None:
        """Look at every socket once, and cut what is overdue."""
        seen = set()
        self._index()
        for number, name in enumerate(os.listdir(_FILES)):  # noqa: PTH208 (thousands of strings)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
                self._index()
            fd = int(name)
            seen.add(fd)
            with suppress(OSError):  # closed meanwhile, or no socket of TCP
                self._look_at(fd)
        for known in (self._connections, self._others, self._listening):
            for fd in known.keys() - seen:
                del known[fd]
        self._cut_those_with_most(time.monotonic())

    def _index(self) -> None:
        self._requests = {client: head for head, client in self._under_way.items()}

    def _look_at(self, fd: int) -> None:
        file = os.fstat(fd)
        inode = file.st_ino
        if self._others.get(fd) == inode or self._listening.get(fd) == inode:
            return
        connection = self._connections.get(fd)
        now = time.monotonic()
        if connection is None or connection.inode != inode:
            self._connections.pop(fd, None)
            connection = self._new(fd, inode, now) if stat.S_ISSOCK(file.st_mode) else None
            if connection is None:
                if self._listening.get(fd) != inode:
                    self._others[fd] = inode
                return
            self._connections[fd] = connection
        self._judge(fd, connection, now)

    def _new(self, fd: int, inode: int, now: float) -> _Connection | None:
        """The connection of a socket that was not known; None if it is of another kind."""
        # Of a copy: an object of Python's would close the descriptor with itself.
        with socket.socket(fileno=os.dup(fd)) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            if one.type != socket.SOCK_STREAM or one.getsockname()[1] != self._port:
                return None
            if _info(one.fileno())[0] == _LISTEN:
                self._listening[fd] = inode
                return None
            host, port = one.getpeername()[:2]
        return _Connection(inode, (host, str(port)), _share(host, self._trusted), now)

    def _judge(self, fd: int, connection: _Connection, now: float) -> None:
        """Whether it is waited for, and for too long."""
        _, unacked, acked, received, not_sent = _info(fd)
        client = connection.client
        head = self._requests.get(client)
        if head is not None:
            connection.acked = acked
            connection.unread_until = 0
            connection.served(now, received)
            self._judge_body(fd, connection, head, now)
            return
        if unacked or not_sent:
            connection.acked = acked
            connection.served(now, received)
            if acked >= connection.unread_until:
                # Measured by what waits now: an answer taken in pieces is followed by the next.
                connection.unread_until = acked + _outgoing(fd)
                connection.unread_since = now
            elif now - connection.unread_since > self._unread_s:
                self._cut(fd, connection)
            return
        connection.unread_until = 0
        if acked != connection.acked:
            connection.acked = acked
            connection.served(now, received)
        elif acked and self._only_first:
            return
        elif received != connection.received:
            connection.part_since = connection.part_since or now
            # The first request has to come in time, from its first byte on.
            since = connection.part_since if acked else connection.idle_since
            if now - since > self._head_s:
                self._cut(fd, connection, _request_timeout())
        elif not acked and now - connection.idle_since > self._head_s:
            self._cut(fd, connection)

    def _judge_body(self, fd: int, connection: _Connection, head: Head, now: float) -> None:
        if not head.awaits_body:
            connection.body = None
        elif connection.body is not head:
            connection.body, connection.body_since = head, now
        elif now - connection.body_since > self._body_s:
            # The server sees the end of a stream, tells the application, and can still answer.
            head.is_late = True
            self._cut(fd, connection, how=socket.SHUT_RD)

    def _cut_those_with_most(self, now: float) -> None:
        """Cut connections of those who have most, for others that wait to be accepted.

        First those of an address above its share, then all that wait for long for their clients;
        never one whose request is being worked on.
        """
        waiting = self._waiting()
        if not waiting:
            return
        held = Counter(connection.address for connection in self._connections.values())
        # Who waits is nobody of these, for all that is known.
        share = max(1, self._connections_max // (len(held) + 1))
        waits = [
            (now - since, fd, connection)
            for fd, connection in self._connections.items()
            if now - (since := self._waits_since(connection, now)) > _IDLE_S
        ]
        waits.sort(key=itemgetter(0), reverse=True)
        above = {
            address: count - share
            for address, count in held.items()
            if count > share and address != _TRUSTED
        }
        chosen: list[tuple[int, _Connection]] = []
        rest: list[tuple[int, _Connection]] = []
        for waited_s, fd, connection in waits:
            address = connection.address
            if above.get(address, 0) > 0:
                above[address] -= 1
                chosen.append((fd, connection))
            elif waited_s > _IDLE_LONG_S and address != _TRUSTED:
                rest.append((fd, connection))
        for fd, connection in (*chosen, *rest)[:waiting]:
            self._cut(fd, connection)

    def _waits_since(self, connection: _Connection, now: float) -> float:
        """Since when it is the client that has to do something."""
        client = connection.client
        head = self._requests.get(client)
        if head is not None:
            awaited = head.awaits_body and head is connection.body
            return connection.body_since if awaited else now
        return connection.unread_since if connection.unread_until else connection.idle_since

    def _waiting(self) -> int:
        """Connections that nobody has accepted, because there are as many as may be."""
        if len(self._connections) < self._connections_max:
            return 0
        with suppress(OSError):
            return sum(_info(fd)[1] for fd in self._listening)
        return 0

    def _cut(
        self, fd: int, connection: _Connection, last: bytes = b"", how: int = socket.SHUT_RDWR
    ) -> None:
        """End it, if it is still the one that was looked at."""
        with suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
            # A copy holds on to what the descriptor was when it was made.
            if os.fstat(one.fileno()).st_ino != connection.inode:
                return
            if last:
                with suppress(OSError):
                    one.send(last, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            one.shutdown(how)
            self.cut += 1


def _info(fd: int) -> tuple[int, int, int, int, int]:
    """Fields of `_INFO`. Raises OSError."""
    # A socket without the rest of Python's: it is made thousands of times, for one question each.
    one = socket.SocketType(_IPV4, _STREAM, _TCP, fd)
    try:
        found = one.getsockopt(_TCP, _TCP_INFO, _INFO.size)
    finally:
        one.detach()
    return _INFO.unpack(found)


def _outgoing(fd: int) -> int:
    """Bytes that the peer has not acknowledged."""
    return int.from_bytes(ioctl(fd, TIOCOUTQ, bytes(4)), sys.byteorder)


def _share(host: str, trusted: Sequence[Network]) -> str:
    """The address whose share a connection of this host counts against."""
    address = addresses.parse(host)
    if address is None or addresses.is_among(address, trusted):
        return _TRUSTED
    return addresses.share(address)


def _request_timeout() -> bytes:
    """A whole answer for a request whose head was never known."""
    request_id = secrets.token_hex(8)
    body = problem(408, "The request took too long to arrive.", "", request_id)
    head = (
        f"HTTP/1.1 408 Request Timeout\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
