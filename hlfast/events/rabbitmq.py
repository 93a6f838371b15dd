"""The event log as a RabbitMQ stream, through aio-pika: the only door to it.

A stream that was deleted and made anew counts its offsets from 0 again, so each life of it has an
epoch. Entries come through an exchange that the stream is bound to with the epoch as binding key:
an entry for a life that is over is returned as unroutable, and every entry names the epoch by its
routing key, whatever retention has left of the stream. Who attaches appends a claim, a random word
that goes past the exchange; where no entry comes before the claims, the first one is the epoch.

The library's own robust connections are not used: they resume a stream at the offset where it was
first attached.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelClosed,
    ChannelPreconditionFailed,
    ConnectionClosed,
)

from hlfast.batching import BatchSender
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, Position, Reset
from hlfast.events.resubscribe import resubscribing
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

_CLAIM = "claim"
_MARKER = "marker"
_WORD_BYTES = 9
_OFFSET = "x-stream-offset"
# A server that hangs is given up after three times as long.
_HEARTBEAT_S = 5
_CLOSE_S = 2.0
# Entries sent ahead to a follower; one may be as long as a batch.
_PREFETCH = 64
# The oldest is dropped as a whole, so what is kept is exact to an eighth.
_SEGMENTS = 8
_JOINED_MAX = 64


@contextmanager
def _failures() -> Iterator[None]:
    """The library's errors as Unavailable."""
    try:
        yield
    except asyncio.CancelledError as error:
        # A connection that is lost in some ways cancels what waits on it.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("The event log hung up") from error
    except (TimeoutError, *CONNECTION_EXCEPTIONS) as error:
        raise Unavailable(f"The event log does not answer ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """What is told of an error. What a server says holds no secret, other messages may."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ConnectionClosed | ChannelClosed) else name


async def _close(connection: AbstractConnection) -> None:
    with suppress(Unavailable), _failures():
        async with asyncio.timeout(_CLOSE_S):
            await connection.close()


def _word() -> bytes:
    return secrets.token_urlsafe(_WORD_BYTES).encode()


def _offset(message: AbstractIncomingMessage) -> int:
    offset: Any = message.headers[_OFFSET]
    return int(offset)


class _Reader:
    """Messages of a queue in order, as they come over a channel of the reader's own."""

    def __init__(self, channel: AbstractChannel, prefetch: int) -> None:
        self._channel = channel
        self._prefetch = prefetch
        self._arrived: deque[AbstractIncomingMessage] = deque()
        self._changed = asyncio.Event()
        # Why there is nothing more to come; empty as long as there may be.
        self._lost = ""
        self._last: AbstractIncomingMessage | None = None
        self._unacknowledged = 0

    async def start(self, queue: AbstractQueue, offset: str | int | None = None) -> None:
        """Read a queue; a stream from an offset, or from a little before it."""
        await self._channel.set_qos(self._prefetch)
        self._channel.close_callbacks.add(self._lose)
        underlying = await self._channel.get_underlay_channel()
        # A deleted queue ends its readers, and nothing else of the channel.
        underlying.on_consumer_cancel_callbacks.add(self._lose)
        await queue.consume(self._arrive, arguments=None if offset is None else {_OFFSET: offset})

    async def next(self) -> AbstractIncomingMessage:
        """The next one. Raises Unavailable when the connection or the queue is lost."""
        # Never from a callback: an acknowledgement that came after the channel's closing would
        # end the connection.
        if self._last and self._unacknowledged >= max(1, self._prefetch // 2):
            await self._last.ack(multiple=True)
            self._unacknowledged = 0
        while not self._arrived:
            if self._lost:
                raise Unavailable(self._lost)
            self._changed.clear()
            await self._changed.wait()
        self._last = self._arrived.popleft()
        self._unacknowledged += 1
        return self._last

    async def close(self) -> None:
        """Stop reading."""
        await self._channel.close()

    async def _arrive(self, message: AbstractIncomingMessage) -> None:
        self._arrived.append(message)
        self._changed.set()

    async def _lose(self, _: object, why: object = None) -> None:
        cause = f" ({_cause(why)})" if isinstance(why, Exception) else ""
        self._lost = f"The event log hung up{cause}"
        self._changed.set()


class _Stream:
    """The stream over one connection."""

    def __init__(self, connection: AbstractConnection, name: str) -> None:
        self._connection = connection
        self._name = name
        self.epoch = ""

    async def open(self, bounds: dict[str, Any]) -> None:
        """Make it if it is not there, and learn its epoch."""
        self._channel = await self._connection.channel(on_return_raises=True)
        try:
            queue = await self._channel.declare_queue(self._name, durable=True, arguments=bounds)
        except ChannelPreconditionFailed:
            logger.warning("The stream %s keeps the bounds that it was made with", self._name)
            self._channel = await self._connection.channel(on_return_raises=True)
            queue = await self._channel.get_queue(self._name, ensure=False)
        self._exchange = await self._channel.declare_exchange(
            self._name, ExchangeType.DIRECT, durable=True
        )
        self.epoch = await self._ask_epoch()
        await queue.bind(self._exchange, self.epoch)
        # What was bound may already have been the next life.
        if await self._ask_epoch() != self.epoch:
            await queue.unbind(self._exchange, self.epoch)
            raise Unavailable("The event log is being made anew")

    @property
    def usable(self) -> bool:
        """Whether entries can be appended."""
        return not (self._connection.is_closed or self._channel.is_closed)

    async def append(self, batch: bytes, kind: str | None = None) -> None:
        """Append an entry, of no kind if it is a batch. Raises PublishError if the life is over."""
        message = Message(batch, type=kind, delivery_mode=DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, self.epoch, mandatory=True)

    async def end(self) -> Position:
        """The position of the newest entry, which this has appended."""
        reader = await self._read("next")
        word = _word()
        await self.append(word, _MARKER)
        while (message := await reader.next()).body != word:
            pass
        await reader.close()
        return Position(self.epoch, _offset(message))

    async def oldest(self) -> int:
        """The offset of the oldest entry that is kept."""
        reader = await self._read("first", prefetch=1)
        message = await reader.next()
        await reader.close()
        return _offset(message)

    async def attach(self, after: Position, end: Position) -> _Reader | None:
        """A reader of what comes after a position, None if something there is missing."""
        # A server that lost the newest entries, in a power cut, counts on from an older one; a
        # reader beyond the end would wait.
        if end.epoch != after.epoch or end.offset <= after.offset:
            return None
        reader = await self._read(after.offset)
        # Once more: a stream that was made anew in between would have ended an older reader.
        if await self._ask_epoch() != after.epoch:
            return None
        while (offset := _offset(await reader.next())) < after.offset:
            pass
        return reader if offset == after.offset else None

    async def _ask_epoch(self) -> str:
        word = _word()
        claim = Message(word, type=_CLAIM, delivery_mode=DeliveryMode.PERSISTENT)
        await self._channel.default_exchange.publish(claim, self._name, mandatory=True)
        reader = await self._read("first", prefetch=2)
        message = first = await reader.next()
        while message.type == _CLAIM and message.body != word:
            message = await reader.next()
        await reader.close()
        return first.body.decode() if message.type == _CLAIM else message.routing_key or ""

    async def _read(self, offset: str | int, prefetch: int = _PREFETCH) -> _Reader:
        channel = await self._connection.channel()
        reader = _Reader(channel, prefetch)
        await reader.start(await channel.get_queue(self._name, ensure=False), offset)
        return reader


class _Publishing(NamedTuple):
    """A connection that publishes."""

    connection: AbstractConnection
    stream: _Stream
    broadcasts: AbstractExchange


class RabbitLog:
    """An EventLog. `urls` are those of the servers of one cluster."""

    # Each waits for its confirm, whatever the others do.
    entries_at_once_max = sys.maxsize

    def __init__(self, urls: Iterable[str], settings: Settings) -> None:
        self._servers = deque(urls)
        self._name = settings.events_name
        self._timeout_s = settings.events_timeout_s
        self._retry_s = settings.events_retry_s
        self._heard_max = settings.broadcast_queue_max
        self._bounds: dict[str, Any] = {
            "x-queue-type": "stream",
            "x-max-length-bytes": settings.events_kept_bytes,
            "x-max-age": f"{settings.events_kept_s}s",
            "x-stream-max-segment-size-bytes": settings.events_kept_bytes // _SEGMENTS,
        }
        self._publishing: _Publishing | None = None
        # Held while a publish finds its connection: they go out in the order in which they came.
        self._turn = asyncio.Lock()
        self._away_until = 0.0
        self._leaving: set[asyncio.Task[None]] = set()
        self._broadcasting = BatchSender(
            self._broadcast_joined, batch_max=_JOINED_MAX, waiting_max=self._heard_max
        )

    async def publish(self, batch: bytes) -> None:
        """See EventLog."""
        publishing: _Publishing | None = None
        with _failures():
            try:
                async with asyncio.timeout(self._timeout_s):
                    async with self._turn:
                        publishing = await self._publisher()
                    await publishing.stream.append(batch)
            except Exception:
                # Unroutable, as this life of the stream is over; refused; or no answer: a server
                # may hold back who publishes, and another one of the cluster may not.
                if publishing is not None and self._publishing is publishing:
                    self._servers.rotate(-1)
                    self._leave(publishing.connection)
                raise

    def follow(self, after: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        """See EventLog."""
        return resubscribing(
            lambda last: self._follow(last.position if last else after), self._retry_s
        )

    async def end(self) -> Position:
        """See EventLog."""
        with _failures():
            async with asyncio.timeout(self._timeout_s), self._connected("end") as connection:
                return await (await self._stream(connection)).end()

    def broadcast(self, data: bytes) -> None:
        """See EventLog."""
        self._broadcasting.put(data)

    def listen(self) -> AsyncGenerator[bytes, None]:
        """See EventLog."""
        return resubscribing(lambda _: self._listen(), self._retry_s)

    async def close(self) -> None:
        """See EventLog."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._broadcasting.close()
        if self._publishing is not None:
            self._leave(self._publishing.connection)
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _connect(self, purpose: str) -> AbstractConnection:
        """A connection to the first server that answers, of those in turn."""
        failures: list[Exception] = []
        for server in tuple(self._servers):
            try:
                return await aio_pika.connect(
                    server,
                    # So that one that hangs leaves time for the others.
                    timeout=self._timeout_s / len(self._servers),
                    heartbeat=_HEARTBEAT_S,
                    client_properties={"connection_name": f"{self._name} {purpose}"},
                )
            except (TimeoutError, *CONNECTION_EXCEPTIONS) as error:
                failures.append(error)
                self._servers.rotate(-1)
        raise failures[0]

    @asynccontextmanager
    async def _connected(self, purpose: str) -> AsyncIterator[AbstractConnection]:
        connection = await self._connect(purpose)
        try:
            yield connection
        except Exception:
            # This one may answer and have no running copy of the stream.
            self._servers.rotate(-1)
            raise
        finally:
            self._leave(connection)

    def _leave(self, connection: AbstractConnection) -> None:
        """Close in the background: a server that hangs would make us wait."""
        if self._publishing is not None and self._publishing.connection is connection:
            self._publishing = None
        task = asyncio.get_running_loop().create_task(_close(connection))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _publisher(self) -> _Publishing:
        """The connection that publishes, opened again if it was lost."""
        if self._publishing is not None and self._publishing.stream.usable:
            return self._publishing
        if self._publishing is not None:
            logger.warning("The event log hung up on who publishes, and is connected to anew")
            self._leave(self._publishing.connection)
        if time.monotonic() < self._away_until:
            raise Unavailable("The event log did not answer a moment ago")
        try:
            self._publishing = await self._open()
        except Exception:
            self._away_until = time.monotonic() + self._retry_s
            raise
        return self._publishing

    async def _open(self) -> _Publishing:
        connection = await self._connect("publisher")
        try:
            stream = await self._stream(connection)
            transient = await connection.channel(publisher_confirms=False)
            broadcasts = await self._declare_broadcasts(transient)
        except BaseException:
            self._servers.rotate(-1)
            self._leave(connection)
            raise
        return _Publishing(connection, stream, broadcasts)

    async def _stream(self, connection: AbstractConnection) -> _Stream:
        stream = _Stream(connection, f"{self._name}.events")
        await stream.open(self._bounds)
        return stream

    async def _declare_broadcasts(self, channel: AbstractChannel) -> AbstractExchange:
        return await channel.declare_exchange(
            f"{self._name}.broadcast", ExchangeType.FANOUT, durable=True
        )

    async def _follow(self, position: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        with _failures():
            async with self._connected("follower") as connection:
                async with asyncio.timeout(self._timeout_s):
                    stream = await self._stream(connection)
                    end = await stream.end()
                    reader = await stream.attach(position, end) if position else None
                if position is None or reader is None:
                    yield Reset(end)
                    return
                epoch, last = position
                while True:
                    message = await reader.next()
                    offset = _offset(message)
                    # The server leaves out an offset now and then, and silently whatever it no
                    # longer keeps: nothing is missing if the last entry is still kept now.
                    if offset != last + 1 and await stream.oldest() > last:
                        return
                    last = offset
                    if message.type is None:
                        yield Entry(Position(epoch, offset), message.body)

    async def _broadcast_joined(self, waiting: Sequence[bytes]) -> None:
        try:
            with _failures():
                async with asyncio.timeout(self._timeout_s):
                    async with self._turn:
                        publishing = await self._publisher()
                    for data in waiting:
                        message = Message(data, delivery_mode=DeliveryMode.NOT_PERSISTENT)
                        await publishing.broadcasts.publish(message, "", mandatory=False)
        except Unavailable as error:
            logger.debug("Broadcasts were dropped: %s", error.detail)

    async def _listen(self) -> AsyncGenerator[bytes, None]:
        with _failures():
            async with self._connected("listener") as connection:
                async with asyncio.timeout(self._timeout_s):
                    channel = await connection.channel()
                    queue = await channel.declare_queue(
                        exclusive=True,
                        auto_delete=True,
                        arguments={"x-max-length": self._heard_max},
                    )
                    await queue.bind(await self._declare_broadcasts(channel))
                    reader = _Reader(channel, _PREFETCH)
                    await reader.start(queue)
                while True:
                    yield (await reader.next()).body
