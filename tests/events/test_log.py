"""What every event log promises, on both."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

from hlfast.events.log import EventLog, Reset
from tests.events.brokers import (
    Broker,
    batches,
    entries,
    in_a_loop,
    soon,
    until_available,
)


def numbered(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


async def publish_all(log: EventLog, wanted: list[bytes]) -> None:
    await soon(asyncio.gather(*map(log.publish, wanted)))


@in_a_loop
async def test_entries_come_in_the_order_of_the_calls_and_once(broker: Broker) -> None:
    """However many are under way, and on the connection's first moments, too."""
    async with broker.opened() as log:
        wanted = numbered(0, 1000)
        async with aclosing(log.follow(None)) as following:
            assert isinstance(await soon(anext(following)), Reset)
            await publish_all(log, wanted)
            found = await entries(following, len(wanted))
        assert [entry.batch for entry in found] == wanted
        positions = [entry.position for entry in found]
        assert positions == sorted(set(positions))
        assert len({position.epoch for position in positions}) == 1


@in_a_loop
async def test_any_bytes_may_be_a_batch(broker: Broker) -> None:
    """Empty ones, binary ones, and ones longer than a frame or a buffer."""
    wanted = [b"", b"\x00\xff\r\n", b"*3\r\n", bytes(1_000_000), b"end"]
    async with broker.opened() as log:
        start = await log.end()
        await publish_all(log, wanted)
        assert await batches(log, start, len(wanted)) == wanted


@in_a_loop
async def test_one_who_follows_from_now_sees_nothing_older(broker: Broker) -> None:
    """The Reset says where now is."""
    async with broker.opened() as log:
        await log.publish(b"older")
        async with aclosing(log.follow(None)) as following:
            start = await soon(anext(following))
            assert isinstance(start, Reset)
            await log.publish(b"newer")
            (entry,) = await entries(following, 1)
        assert entry.batch == b"newer"
        assert await batches(log, start.position, 1) == [b"newer"]


@in_a_loop
async def test_one_who_starts_later_reads_from_a_position(broker: Broker) -> None:
    """A position of an entry, of the end, and handed over to another process's log."""
    async with broker.opened() as log, broker.opened() as other:
        start = await log.end()
        await publish_all(log, numbered(0, 300))
        async with aclosing(other.follow(start)) as following:
            found = await entries(following, 300)
        assert [entry.batch for entry in found] == numbered(0, 300)
        assert await batches(other, found[149].position, 150) == numbered(150, 150)
        assert await other.end() >= found[-1].position


@in_a_loop
async def test_each_follower_gets_everything(broker: Broker) -> None:
    """One that reads slowly, too, of more than is sent ahead."""
    wanted = [b"%d" % number + bytes(20_000) for number in range(400)]
    async with broker.opened() as log, broker.opened() as other:
        start = await log.end()
        async with aclosing(log.follow(start)) as quick, aclosing(other.follow(start)) as slow:
            first_of_slow = asyncio.ensure_future(entries(slow, 1))
            await publish_all(log, wanted)
            assert [entry.batch for entry in await entries(quick, 400)] == wanted
            found = [*await first_of_slow, *await entries(slow, 399)]
            assert [entry.batch for entry in found] == wanted


@in_a_loop
async def test_logs_opened_at_once_are_of_one_epoch(broker: Broker) -> None:
    """Whoever of them makes it."""
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(broker.opened()) for _ in range(8)]
        # RabbitMQ refuses some who declare a stream that is just being made.
        ends = await asyncio.gather(*[until_available(log.end) for log in logs[:4]])
        await soon(asyncio.gather(*[log.publish(b"") for log in logs[4:]]))
        ends += await soon(asyncio.gather(*[log.end() for log in logs]))
        assert len({end.epoch for end in ends}) == 1
        assert await batches(logs[0], min(ends), 4) == [b""] * 4


@in_a_loop
async def test_a_caller_that_gives_up_disturbs_nobody(broker: Broker) -> None:
    """Before its connection is there, and while confirms are awaited."""
    async with broker.opened() as log:
        start = await log.end()
        for _ in range(2):
            publishing = [asyncio.ensure_future(log.publish(b"%d" % n)) for n in range(20)]
            await asyncio.sleep(0)
            for given_up in publishing[::2]:
                given_up.cancel()
            await soon(asyncio.gather(*publishing[1::2]))
        await log.publish(b"last")
        found: list[bytes] = []
        async with aclosing(log.follow(start)) as following:
            while not found or found[-1] != b"last":
                found += [entry.batch for entry in await entries(following, 1)]
        stayed = [b"%d" % n for n in range(1, 20, 2)]
        assert [batch for batch in found if batch in stayed] == stayed * 2


@in_a_loop
async def test_a_broadcast_reaches_whoever_listens(broker: Broker) -> None:
    """In other processes and in one's own; and leaves nothing in the log."""
    async with broker.opened() as log, broker.opened() as other:
        start = await log.end()
        async with aclosing(log.listen()) as own, aclosing(other.listen()) as others:
            heard = asyncio.gather(anext(own), anext(others))
            # Attaching takes a moment, and what came before it is not heard.
            while not heard.done():
                log.broadcast(b"online")
                await asyncio.wait([heard], timeout=0.05)
            assert list(await heard) == [b"online", b"online"]
        await log.publish(b"after")
        assert await batches(log, start, 1) == [b"after"]


@in_a_loop
async def test_broadcasts_wait_for_a_slow_listener_only_up_to_a_bound(broker: Broker) -> None:
    """And their sender not at all: the oldest are dropped."""
    async with broker.opened(broadcast_queue_max=100) as log:
        for number in range(5000):
            log.broadcast(b"%d" % number)
        async with aclosing(log.listen()) as listening:
            heard = asyncio.ensure_future(anext(listening))
            while not heard.done():
                log.broadcast(b"later")
                await asyncio.wait([heard], timeout=0.05)
            assert await heard == b"later" or int(heard.result()) >= 4900
