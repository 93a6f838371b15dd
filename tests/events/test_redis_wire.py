"""What Redis answers is read as it was written, however it comes; what fails closes the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio
from redis.connection import DefaultParser
from redis.exceptions import ReadOnlyError, ResponseError

from hlfast.events.redis_wire import Incomplete, RedisWire, command, parse
from tests.events.brokers import RedisBroker, in_a_loop

DEADLINE_S = 30.0
ANSWERS: list[tuple[bytes, Any]] = [
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b":-12\r\n", -12),
    (b"+OK\r\n", b"OK"),
    (b"*2\r\n*1\r\n$1\r\nx\r\n*2\r\n:1\r\n$-1\r\n", [[b"x"], [1, None]]),
]


@pytest.mark.parametrize(("answer", "meaning"), ANSWERS)
def test_an_answer_is_read_once_it_is_whole(answer: bytes, meaning: Any) -> None:
    data = b"+before\r\n" + answer
    for size in range(9, len(data)):
        with pytest.raises(Incomplete) as more:
            parse(data[:size], 9, ResponseError)
        assert size < more.value.size <= len(data)
    assert parse(data + b"+behind\r\n", 9, ResponseError) == (meaning, len(data))


def test_what_is_no_answer() -> None:
    for wrong in (b"HTTP/1.1 400\r\n", b"$x\r\n"):
        with pytest.raises(ValueError):
            parse(wrong, 0, ResponseError)


@asynccontextmanager
async def wire_to(broker: RedisBroker) -> AsyncIterator[RedisWire]:
    """An open one."""
    async with redis.asyncio.Redis.from_url(broker.server.url, protocol=2) as client:
        wire = RedisWire(client.connection_pool.make_connection(), DefaultParser.parse_error)
        await wire.open()
        yield wire
        await wire.aclose()


@in_a_loop
async def test_answers_come_in_order_whatever_their_size(redis_broker: RedisBroker) -> None:
    """Errors among them are exceptions of their kind."""
    big = bytes(range(256)) * 40_000
    async with wire_to(redis_broker) as wire:
        asked = [
            command(b"ECHO", big),
            command(b"NONSENSE"),
            command(b"EVAL", b"return redis.error_reply('READONLY of a replica')", b"0"),
            command(b"EVAL", b"return {1, {'a', false}}", b"0"),
        ]
        for _ in range(2):
            one, wrong, refused, nested = await wire.ask(b"".join(asked), 4, DEADLINE_S)
            assert one == big
            assert isinstance(wrong, ResponseError) and "NONSENSE" in str(wrong)
            assert isinstance(refused, ReadOnlyError)
            assert nested == [1, [b"a", None]]


@in_a_loop
async def test_a_question_that_is_given_up_closes_the_wire(redis_broker: RedisBroker) -> None:
    """The next one would get its answer."""
    async with wire_to(redis_broker) as wire:
        asking = asyncio.create_task(wire.ask(command(b"BLPOP", b"nothing", b"0"), 1, DEADLINE_S))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not wire.is_open
        with pytest.raises(ConnectionResetError):
            await wire.ask(command(b"PING"), 1, DEADLINE_S)


@in_a_loop
async def test_a_question_without_an_answer(redis_broker: RedisBroker) -> None:
    """Each has its own time, though an earlier one's timer looks at it."""
    async with wire_to(redis_broker) as wire:
        assert await wire.ask(command(b"PING"), 1, 0.001) == [b"PONG"]
        with pytest.raises(TimeoutError):
            await wire.ask(command(b"BLPOP", b"nothing", b"0"), 1, 0.01)
        assert not wire.is_open


@in_a_loop
async def test_a_server_that_hangs_up(redis_broker: RedisBroker) -> None:
    async with wire_to(redis_broker) as wire:
        with pytest.raises(ConnectionResetError):
            await wire.ask(
                command(b"CLIENT", b"KILL", b"SKIPME", b"no", b"TYPE", b"normal") * 2, 3, DEADLINE_S
            )
        assert not wire.is_open
