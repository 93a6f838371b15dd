"""The event log as a Redis stream; with hlfast/cache.py the only door to redis.

One key holds all there is of the log, so that it lives and dies as a whole: the entries, and the
epoch as a consumer group that nobody reads with and whose id is a random number.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError

from hlfast.batching import BatchSender
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, Position, Reset
from hlfast.events.redis_wire import RedisWire, bulk, command, end_if_cancelled
from hlfast.events.resubscribe import resubscribing
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

_EPOCH = "epoch"
_EPOCH_BITS = 50
_BATCH = b"batch"
_ROLE = command(b"ROLE")
# Written with the epoch: the log always has a newest entry.
_BEGINNING = b"beginning"
# An offset is the milliseconds of the entry's id above the number that counts within one.
_SEQUENCE_BITS = 32
# Entries of one read or one write; one may be as long as a batch.
_JOINED_MAX = 64
# A read waits no longer, so that a log that is gone is noticed in a quiet hour, too.
_BLOCK_S = 1.0
_RETENTION_EVERY_S = 1.0
# A primary that was demoted goes on answering those who are connected to it: they ask what it is.
_ROLE_EVERY_S = 1.0
_REPLICA = b"slave"
# Whether the log is of that epoch and keeps that entry, 1 or 0; the entry itself may be long.
_HOLDS = b"""
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, group in ipairs(groups) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' and group[i + 1] == ARGV[1] then
      return #redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
    end
  end
end
return 0
"""


def _offset(entry_id: bytes) -> int:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds) << _SEQUENCE_BITS | int(sequence)


def _entry_id(offset: int) -> bytes:
    return b"%d-%d" % (offset >> _SEQUENCE_BITS, offset & (1 << _SEQUENCE_BITS) - 1)


def _good(answer: Any) -> Any:
    """The answer. Raises the error that it is."""
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"The event log does not answer ({_cause(error)})") from error


def _cause(error: Exception) -> str:
    """What is told of an error. What a server answers holds no secret, other messages may."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ResponseError) else name


def _need_primary(role: Any) -> None:
    """Raises ReadOnlyError if the answer to ROLE is a replica's."""
    if isinstance(role, list) and role[:1] == [_REPLICA]:
        raise ReadOnlyError("its server is a replica")


class RedisLog:
    """An EventLog on a server with `appendonly yes` and `appendfsync always`.

    With `everysec`, Redis may answer two seconds before it writes: what was confirmed is lost
    when it is killed.
    """

    # Redis writes one after the other to its disk: those that wait meanwhile are one entry.
    entries_at_once_max = 1

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._key = f"{settings.events_name}:events"
        self._channel = f"{settings.events_name}:broadcast"
        self._timeout_s = settings.events_timeout_s
        self._retry_s = settings.events_retry_s
        self._kept_bytes = settings.events_kept_bytes
        self._kept_ms = settings.events_kept_s * 1000
        self._retention_due = 0.0
        self._retaining: asyncio.Task[None] | None = None
        self._asked_whether_durable = False
        self._role_due = 0.0
        # Another number whenever a server is left for what it is: nobody stays with it.
        self._life = 0
        self._client = self._connect(self._timeout_s)
        # What entries are appended over; another one whenever it is lost.
        self._appends = self._wire()
        # XADD but for the batch.
        self._xadd = b"*5\r\n" + b"".join(map(bulk, (b"XADD", self._key.encode(), b"*", _BATCH)))
        # Entries go one after the other: those that come meanwhile would go over other connections.
        self._appending = asyncio.Lock()
        self._broadcasting = BatchSender(
            self._broadcast_joined,
            batch_max=_JOINED_MAX,
            waiting_max=settings.broadcast_queue_max,
        )

    async def publish(self, batch: bytes) -> None:
        """See EventLog."""
        with _failures():
            async with asyncio.timeout(self._timeout_s), self._appending:
                try:
                    newest = await self._append(batch)
                except ResponseError as error:
                    await self._leave(error)
                    await self._appends.aclose()
                    raise
        if time.monotonic() >= self._retention_due and self._retaining is None:
            self._retention_due = time.monotonic() + _RETENTION_EVERY_S
            # Nobody waits for it.
            self._retaining = asyncio.create_task(self._retain(newest))
            self._retaining.add_done_callback(self._retained)

    def follow(self, after: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        """See EventLog."""
        return resubscribing(
            lambda last: self._follow(last.position if last else after), self._retry_s
        )

    async def end(self) -> Position:
        """See EventLog."""
        with _failures():
            async with asyncio.timeout(self._timeout_s):
                return await self._end(self._client)

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
                if self._retaining is not None:
                    await self._retaining
        await self._appends.aclose()
        await self._client.aclose()

    def _connect(self, timeout_s: float) -> redis.Redis:
        return redis.Redis.from_url(
            self._url,
            socket_timeout=timeout_s,
            socket_connect_timeout=self._timeout_s,
            # Repeating is for those who know what was done already.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def _wire(self) -> RedisWire:
        """A connection like the client's that is none of its pool."""
        connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        return RedisWire(connection, DefaultParser.parse_error)

    async def _leave(self, why: Exception) -> None:
        """Keep no connection to a server that refuses: the address may lead to another one now."""
        if isinstance(why, ReadOnlyError | MasterDownError):
            self._life += 1
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.connection_pool.disconnect(inuse_connections=False)

    def _stay(self, life: int) -> None:
        """Raises Unavailable when the server of that life was left meanwhile."""
        if life != self._life:
            raise Unavailable("The event log is looked for on another server")

    async def _append(self, batch: bytes) -> int:
        """The offset of the new entry."""
        await self._warn_unless_durable()
        if not self._appends.is_open:
            await self._appends.aclose()
            self._appends = self._wire()
            await self._appends.open()
        answers = await self._appends.ask(self._xadd + bulk(batch), 1, self._timeout_s)
        return _offset(_good(answers[0]))

    async def _warn_unless_durable(self) -> None:
        if self._asked_whether_durable:
            return
        # A server of somebody else's may keep its configuration to itself.
        with suppress(ResponseError):
            found = await self._client.config_get("append*")
            if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
                logger.error("Redis loses confirmed events when it dies: set appendfsync always")
        self._asked_whether_durable = True

    def _retained(self, _: asyncio.Task[None]) -> None:
        self._retaining = None

    async def _retain(self, newest: int) -> None:
        """Drop what is too old or too much; the newest entry of those too old stays.

        So one who has read all there was still finds the last entry read after a quiet time.
        """
        oldest_ms = (newest >> _SEQUENCE_BITS) - self._kept_ms
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.xrevrange(self._key, max=f"({oldest_ms}", count=1)
                    pipe.memory_usage(self._key)
                    pipe.xlen(self._key)
                    too_old, used_bytes, length = await pipe.execute()
                if too_old:
                    await self._client.xtrim(self._key, minid=too_old[0][0].decode())
                if (used_bytes or 0) > self._kept_bytes:
                    fitting = max(1, length * self._kept_bytes // used_bytes)
                    await self._client.xtrim(self._key, maxlen=fitting)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("The event log was not trimmed: %s", type(error).__name__)

    async def _create(self, client: redis.Redis) -> None:
        async with client.pipeline(transaction=True) as pipe:
            epoch = f"{secrets.randbits(_EPOCH_BITS)}-0"
            # Of any number of processes here at once one sets the epoch.
            pipe.xgroup_create(self._key, _EPOCH, epoch, mkstream=True)
            pipe.xadd(self._key, {_BEGINNING: b""})
            answer, _ = await pipe.execute(raise_on_error=False)
        if isinstance(answer, ResponseError) and "BUSYGROUP" not in str(answer):
            raise answer

    @staticmethod
    def _epoch(groups: Any) -> str:
        """The epoch from the answer to XINFO GROUPS; empty if the log is not there."""
        if isinstance(groups, ResponseError):
            return ""
        for group in groups:
            if group["name"] == _EPOCH.encode():
                return str(group["last-delivered-id"].partition(b"-")[0], "ascii")
        return ""

    async def _end(self, client: redis.Redis) -> Position:
        while True:
            async with client.pipeline(transaction=True) as pipe:
                pipe.xinfo_groups(self._key)
                pipe.xrevrange(self._key, count=1)
                groups, newest = await pipe.execute(raise_on_error=False)
            if (epoch := self._epoch(groups)) and newest:
                return Position(epoch, _offset(newest[0][0]))
            await self._create(client)

    async def _follow(self, position: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        life, role_due = self._life, 0.0
        with _failures():
            # Neither of them is connected yet, perhaps to another server than the rest.
            async with self._connect(self._timeout_s) as client, aclosing(self._wire()) as wire:
                if position is not None:
                    await wire.open()
                # The first read does not wait: the position may be one of another log.
                block_ms = None
                while position is not None:
                    asks_role = time.monotonic() >= role_due
                    if asks_role:
                        role_due = time.monotonic() + _ROLE_EVERY_S
                    found = await self._read(wire, position, block_ms, asks_role)
                    self._stay(life)
                    if found is None:
                        break
                    block_ms = round(_BLOCK_S * 1000)
                    for offset, batch in found:
                        position = Position(position.epoch, offset)
                        if batch is not None:
                            yield Entry(position, batch)
                yield Reset(await self._end(client))

    async def _read(
        self, wire: RedisWire, after: Position, block_ms: int | None, asks_role: bool
    ) -> list[tuple[int, bytes | None]] | None:
        """What comes after a position, waiting for it; None if some of it may be lost.

        If the entry at the position is there still when the rest has been read, nothing between
        was dropped.
        """
        entry_id = _entry_id(after.offset)
        wait = () if block_ms is None else (b"BLOCK", b"%d" % block_ms)
        key = self._key.encode()
        asked = [
            command(b"XREAD", b"COUNT", b"%d" % _JOINED_MAX, *wait, b"STREAMS", key, entry_id),
            command(b"EVAL", _HOLDS, b"1", key, b"%b-0" % after.epoch.encode(), entry_id),
        ]
        if asks_role:
            asked.append(_ROLE)
        # A time below that for which a read may block would make every quiet second a failure;
        # none at all would leave a server that hangs unnoticed.
        within_s = _BLOCK_S + self._timeout_s
        streams, holds, *role = await wire.ask(b"".join(asked), len(asked), within_s)
        if asks_role:
            await self._look_at_role(role[0])
        if not _good(holds):
            return None
        entries = streams[0][1] if _good(streams) else []
        return [
            (_offset(entry_id), fields[1] if fields[0] == _BATCH else None)
            for entry_id, fields in entries
        ]

    async def _look_at_role(self, role: Any) -> None:
        """Raises ReadOnlyError, and leaves the server, if it is a replica.

        Some servers do not tell everybody, which is no failure.
        """
        try:
            _need_primary(role)
        except ReadOnlyError as error:
            await self._leave(error)
            raise

    async def _broadcast_joined(self, waiting: Sequence[bytes]) -> None:
        asks_role = time.monotonic() >= self._role_due
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client.pipeline(transaction=False) as pipe:
                    for data in waiting:
                        pipe.publish(self._channel, data)
                    if asks_role:
                        self._role_due = time.monotonic() + _ROLE_EVERY_S
                        pipe.execute_command("ROLE")
                    answers = await pipe.execute(raise_on_error=False)
            if asks_role:
                _need_primary(answers[-1])
        except (RedisError, OSError, TimeoutError) as error:
            logger.debug("Broadcasts were dropped: %s", _cause(error))
            if isinstance(error, ResponseError):
                # A replica takes them, and nobody on the primary hears them.
                logger.warning("The event log's server is left: %s", _cause(error))
                await self._leave(error)

    async def _listen(self) -> AsyncGenerator[bytes, None]:
        client = self._connect(self._timeout_s)
        life = self._life
        with _failures():
            async with client, client.pubsub() as channel:
                await channel.subscribe(self._channel)
                heard_at = time.monotonic()
                while True:
                    end_if_cancelled()
                    # A subscriber's read knows no timeout but this one.
                    message = await channel.get_message(timeout=_BLOCK_S)
                    self._stay(life)
                    if message is not None:
                        heard_at = time.monotonic()
                        if message["type"] == "message":
                            yield message["data"]
                    elif time.monotonic() - heard_at > _BLOCK_S + self._timeout_s:
                        raise TimeoutError("the server does not answer its subscribers")
                    else:
                        await channel.ping()
