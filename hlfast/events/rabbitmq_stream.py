"""The RabbitMQ stream that holds the event log: its lives, and how it is read and appended to.

A stream that was deleted and made anew counts its offsets from 0 again, so each life of it has an
epoch. Entries come through an exchange that the stream is bound to with the epoch as binding key:
an entry for a life that is over is returned as unroutable, and every entry names the epoch by its
routing key, whatever retention has left of the stream. Who attaches appends a claim, a random word
that goes past the exchange; where no entry comes before the claims, the first one is the epoch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelClosed,
    ChannelPreconditionFailed,
    ConnectionClosed,
)

from hlfast.errors import Unavailable
from hlfast.events.log import Position

logger = logging.getLogger(__name__)

_CLAIM = "claim"
_MARKER = "marker"
_WORD_BYTES = 9
_OFFSET = "x-stream-offset"
_CLOSE_S = 2.0
# Entries sent ahead to a follower; one may be as long as a batch.
PREFETCH = 64


@contextmanager
def failures() -> Iterator[None]:
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
    """The text for an error. What a server says holds no secret, other messages may."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ConnectionClosed | ChannelClosed) else name


async def close(connection: AbstractConnection) -> None:
    with suppress(Unavailable), failures():
        async with asyncio.timeout(_CLOSE_S):
            await connection.close()


def _word() -> bytes:
    return secrets.token_urlsafe(_WORD_BYTES).encode()


def offset_of(message: AbstractIncomingMessage) -> int:
    offset: Any = message.headers[_OFFSET]
    return int(offset)


class Reader:
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
        """Stop reading; the channel is closed."""
        await self._channel.close()

    async def _arrive(self, message: AbstractIncomingMessage) -> None:
        self._arrived.append(message)
        self._changed.set()

    async def _lose(self, _: object, why: object = None) -> None:
        cause = f" ({_cause(why)})" if isinstance(why, Exception) else ""
        self._lost = f"The event log hung up{cause}"
        self._changed.set()


class Stream:
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
        return Position(self.epoch, offset_of(message))

    async def oldest(self) -> int:
        """The offset of the oldest entry that is still there."""
        reader = await self._read("first", prefetch=1)
        message = await reader.next()
        await reader.close()
        return offset_of(message)

    async def attach(self, after: Position, end: Position) -> Reader | None:
        """A reader of what comes after a position, None if something there is missing."""
        # A server that lost the newest entries, in a power cut, counts on from an older one; a
        # reader beyond the end would wait.
        if end.epoch != after.epoch or end.offset <= after.offset:
            return None
        reader = await self._read(after.offset)
        # Once more: a stream that was made anew in between would have ended an older reader.
        if await self._ask_epoch() != after.epoch:
            return None
        while (offset := offset_of(await reader.next())) < after.offset:
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

    async def _read(self, offset: str | int, prefetch: int = PREFETCH) -> Reader:
        channel = await self._connection.channel()
        reader = Reader(channel, prefetch)
        await reader.start(await channel.get_queue(self._name, ensure=False), offset)
        return reader
