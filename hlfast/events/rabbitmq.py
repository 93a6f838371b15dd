"""The event log on RabbitMQ: a stream for events, a fanout exchange for broadcasts.

The robust connections of aio-pika are not used: they resume a stream at the offset where it was
first attached.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from hlfast.batching import BatchSender
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, Position, Reset
from hlfast.events.rabbitmq_stream import PREFETCH, Reader, Stream, close, failures, offset_of
from hlfast.events.resubscribe import resubscribing
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# A server that hangs is given up after three times as long.
_HEARTBEAT_S = 5
# The oldest is dropped as a whole, so that the bytes retained are exact to an eighth.
_SEGMENTS = 8
_BROADCASTS_AT_ONCE_MAX = 64


class _Publishing(NamedTuple):
    """A connection that publishes, with the stream and the exchange of broadcasts on it."""

    connection: AbstractConnection
    stream: Stream
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
            self._broadcast_all, batch_max=_BROADCASTS_AT_ONCE_MAX, waiting_max=self._heard_max
        )

    async def publish(self, batch: bytes) -> None:
        """See EventLog."""
        publishing: _Publishing | None = None
        with failures():
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
        with failures():
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
        task = asyncio.get_running_loop().create_task(close(connection))
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

    async def _stream(self, connection: AbstractConnection) -> Stream:
        stream = Stream(connection, f"{self._name}.events")
        await stream.open(self._bounds)
        return stream

    async def _declare_broadcasts(self, channel: AbstractChannel) -> AbstractExchange:
        return await channel.declare_exchange(
            f"{self._name}.broadcast", ExchangeType.FANOUT, durable=True
        )

    async def _follow(self, position: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        with failures():
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
                    offset = offset_of(message)
                    # The server leaves out an offset now and then, and silently whatever it no
                    # longer has: nothing is missing if the last entry is still there now.
                    if offset != last + 1 and await stream.oldest() > last:
                        return
                    last = offset
                    if message.type is None:
                        yield Entry(Position(epoch, offset), message.body)

    async def _broadcast_all(self, waiting: Sequence[bytes]) -> None:
        try:
            with failures():
                async with asyncio.timeout(self._timeout_s):
                    async with self._turn:
                        publishing = await self._publisher()
                    for data in waiting:
                        message = Message(data, delivery_mode=DeliveryMode.NOT_PERSISTENT)
                        await publishing.broadcasts.publish(message, "", mandatory=False)
        except Unavailable as error:
            logger.debug("Broadcasts were dropped: %s", error.detail)

    async def _listen(self) -> AsyncGenerator[bytes, None]:
        with failures():
            async with self._connected("listener") as connection:
                async with asyncio.timeout(self._timeout_s):
                    channel = await connection.channel()
                    queue = await channel.declare_queue(
                        exclusive=True,
                        auto_delete=True,
                        arguments={"x-max-length": self._heard_max},
                    )
                    await queue.bind(await self._declare_broadcasts(channel))
                    reader = Reader(channel, PREFETCH)
                    await reader.start(queue)
                while True:
                    yield (await reader.next()).body
