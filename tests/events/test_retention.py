"""The log is bounded, and nobody is led over a gap."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import redis
import redis.asyncio

from hlfast.events.log import Entry, Position, Reset
from hlfast.events.redis import RedisLog
from tests.events.brokers import (
    Broker,
    RabbitBroker,
    RedisBroker,
    batches,
    entries,
    first_item,
    in_a_loop,
    soon,
)


async def until_reset(following: AsyncGenerator[Entry | Reset, None]) -> Reset:
    """The Reset that a reader yields, whatever came before it."""
    while not isinstance(item := await soon(anext(following)), Reset):
        pass
    return item


@in_a_loop
async def test_a_position_that_is_gone_is_noticed(broker: Broker) -> None:
    """The log is bounded: what is too old or too much goes, and is not passed over silently."""
    for bounds in ({"events_kept_bytes": 65536}, {"events_kept_s": 1}):
        broker.name += "x"
        async with broker.opened(**{"events_kept_bytes": 1 << 20} | bounds) as log:
            start = await log.end()
            async with aclosing(log.follow(start)) as live:
                # A segment of a stream is dropped as a whole.
                await log.publish(b"first")
                newest = (await entries(live, 1))[-1].position
                while not isinstance(await first_item(log, start), Reset):
                    for _ in range(4):
                        await log.publish(bytes(5000))
                    newest = (await entries(live, 4))[-1].position
            await log.publish(b"last")
            assert await batches(log, newest, 1) == [b"last"]


@in_a_loop
async def test_a_reader_left_behind_gets_a_reset(broker: Broker) -> None:
    """One that was following, and read nothing while the log went on."""
    async with broker.opened(events_kept_bytes=65536) as log:
        start = await log.end()
        async with aclosing(log.follow(start)) as following:
            await log.publish(b"first")
            await entries(following, 1)
            while not isinstance(await first_item(log, start), Reset):
                for _ in range(100):
                    await log.publish(bytes(5000))
            end = await log.end()
            reset = await until_reset(following)
            assert reset.position >= end


@in_a_loop
async def test_other_bounds_than_the_stream_was_made_with(rabbit_broker: RabbitBroker) -> None:
    """RabbitMQ refuses such a declaration; the log goes on with the old ones."""
    async with rabbit_broker.opened(events_kept_bytes=1 << 20) as log:
        start = await log.end()
        await log.publish(b"old")
    async with rabbit_broker.opened(events_kept_bytes=1 << 21) as log:
        await log.publish(b"new")
        assert await batches(log, start, 2) == [b"old", b"new"]


@in_a_loop
async def test_an_entry_read_before_a_quiet_time_stays(redis_broker: RedisBroker) -> None:
    """Of the entries too old the newest stays, so that one who has read it has missed nothing."""
    key = f"{redis_broker.name}:events"
    # Above 4 KiB, so that each can be dropped by itself.
    long = bytes(5000)
    async with redis_broker.opened(events_kept_s=60) as log:
        async with redis.asyncio.Redis.from_url(redis_broker.server.url) as client:
            await client.xgroup_create(key, "epoch", "7-0", mkstream=True)
            for milliseconds in (1000, 2000, 3000):
                await client.xadd(key, {"batch": long}, f"{milliseconds}-0")
        before, read = (Position("7", milliseconds << 32) for milliseconds in (2000, 3000))
        async with aclosing(log.follow(read)) as following:
            await log.publish(b"new")
            assert [entry.batch for entry in await entries(following, 1)] == [b"new"]
        while not isinstance(await first_item(log, before), Reset):
            pass
        assert await batches(log, read, 1) == [b"new"]


@pytest.mark.parametrize(("appendfsync", "warned"), [("everysec", True), ("always", False)])
def test_a_redis_that_loses_what_it_confirmed_is_pointed_out(
    redis_broker: RedisBroker, caplog: pytest.LogCaptureFixture, appendfsync: str, warned: bool
) -> None:
    """It may answer before it writes."""

    @in_a_loop
    async def publish() -> None:
        async with redis_broker.opened() as log:
            await log.publish(b"")

    with redis.Redis.from_url(redis_broker.server.url) as client:
        client.config_set("appendfsync", appendfsync)
        with caplog.at_level(logging.ERROR, RedisLog.__module__):
            publish()
        client.config_set("appendfsync", "always")
    assert ("appendfsync" in caplog.text) is warned
