"""A connection to Redis as bytes: commands go out as they are, answers are read where they lie.

redis-py connects, signs in and closes. Its reading of one answer, a task and a timeout for each of
its lines, was three quarters of what a lonely event cost a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

_LINE_END = b"\r\n"
_BULK, _ARRAY, _NUMBER, _STATUS, _ERROR = b"$*:+-"


class Connection(Protocol):
    """What redis-py's connections do for this one."""

    def connect(self) -> Awaitable[None]:
        """Connect and sign in."""

    def disconnect(self, nowait: bool = False) -> Awaitable[None]:
        """Close the connection to the server; `nowait` waits for nobody."""


def end_if_cancelled() -> None:
    """Raise CancelledError if the running task is to end: to be called after redis-py has sent.

    In Python 3.11 asyncio.wait_for, by which it sends, forgets to be cancelled when that comes as
    the sending ends: a node that closes its sockets would not stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Incomplete(Exception):
    """An answer goes on beyond what has come. `size` bytes are needed before another look."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def bulk(value: bytes) -> bytes:
    """One argument of a command, as RESP writes a bulk string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def command(*parts: bytes) -> bytes:
    """A command of these arguments, as RESP writes an array."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(bulk, parts)))


def parse(data: bytes, start: int, error_of: Callable[[str], Exception]) -> tuple[Any, int]:
    """The answer that begins there, and where it ends.

    Bytes, a number, a list or None; an error is an exception in its place. Raises Incomplete, and
    ValueError for what is no answer.
    """
    line_end = data.find(_LINE_END, start)
    if line_end < 0:
        raise Incomplete(len(data) + 1)
    kind, line, place = data[start], data[start + 1 : line_end], line_end + 2
    if kind == _BULK:
        size = int(line)
        if size < 0:
            return None, place
        end = place + size
        if len(data) < end + 2:
            raise Incomplete(end + 2)
        return data[place:end], end + 2
    if kind == _ARRAY:
        size = int(line)
        if size < 0:
            return None, place
        found = []
        for _ in range(size):
            one, place = parse(data, place, error_of)
            found.append(one)
        return found, place
    if kind == _NUMBER:
        return int(line), place
    if kind == _STATUS:
        return line, place
    if kind == _ERROR:
        return error_of(line.decode("utf-8", "replace")), place
    raise ValueError("what Redis sent is no answer")


class RedisWire(asyncio.Protocol):
    """One question at a time. Whoever gives up a question, or gets no answer, ends the wire.

    It is opened once: after a failure another one is made.
    `error_of` makes an exception of an error's text.
    """

    def __init__(self, connection: Connection, error_of: Callable[[str], Exception]) -> None:
        self._connection = connection
        self._error_of = error_of
        self._transport: asyncio.Transport | None = None
        # redis-py's own, which waits for the end of the connection when it closes it.
        self._replaced: asyncio.BaseProtocol | None = None
        # What came of answers that are not whole, and how much of it must be there for a look.
        self._parts: list[bytes] = []
        self._size = self._size_needed = 0
        self._answers: list[Any] = []
        self._answers_needed = 0
        self._answered: asyncio.Future[list[Any]] | None = None
        # One timer for many questions: it goes off seldom, and looks at the question of then.
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a question is worth a try."""
        return self._transport is not None

    async def open(self) -> None:
        """Connect, once. Raises what redis-py does."""
        await self._connection.connect()
        end_if_cancelled()
        # No public name leads to it.
        transport = cast("Any", self._connection)._writer.transport
        self._replaced = transport.get_protocol()
        transport.set_protocol(self)
        self._transport = transport

    async def aclose(self) -> None:
        """Close it, asked or not."""
        self._fail(ConnectionResetError("the connection was closed"))
        await self._connection.disconnect(nowait=True)

    async def ask(self, commands: bytes, answers: int, within_s: float) -> list[Any]:
        """The answers to so many commands. Raises OSError, TimeoutError.

        Error answers are exceptions among them.
        """
        if self._transport is None:
            raise ConnectionResetError("the connection is closed")
        loop = asyncio.get_running_loop()
        self._answers, self._answers_needed = [], answers
        self._answered = loop.create_future()
        self._due = loop.time() + within_s
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look)
        self._transport.write(commands)
        try:
            return await self._answered
        finally:
            if self._answered.cancelled():
                # Its answer would be taken for the next one's.
                self._fail(ConnectionResetError("a question was given up"))
            self._answered = None

    def data_received(self, data: bytes) -> None:
        """asyncio's: some bytes came."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._size_needed:
            return
        data, place = b"".join(self._parts) if len(self._parts) > 1 else data, 0
        try:
            while place < len(data):
                answer, place = parse(data, place, self._error_of)
                self._answers.append(answer)
        except Incomplete as more:
            self._size_needed = more.size - place
        except ValueError as error:
            self._fail(ConnectionResetError(str(error)))
            return
        else:
            self._size_needed = 0
        data = data[place:]
        self._parts, self._size = [data] if data else [], len(data)
        answered = self._answered
        if len(self._answers) < self._answers_needed or answered is None:
            return
        if not answered.done():
            answered.set_result(self._answers)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's: the connection is gone."""
        if self._replaced is not None:
            self._replaced.connection_lost(error)
        self._fail(error or ConnectionResetError("Redis closed the connection"))

    def _look(self) -> None:
        """Whether a question has waited for too long."""
        self._timer = None
        if self._answered is None or self._transport is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        else:
            self._fail(TimeoutError("Redis does not answer"))

    def _fail(self, error: Exception) -> None:
        """Ask nothing more over it: whoever waits has this error."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
