"""Events that share entries, on both kinds of log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from typing import Any

import pytest

from hlfast import codec
from hlfast.errors import Unavailable
from hlfast.events.log import EventLog, Position
from hlfast.events.publisher import Publisher, read_batch
from tests.events.brokers import Broker, batches, entries, in_a_loop, soon

EVENT_BYTES = len(codec.encode({"n": 10}))


@asynccontextmanager
async def publishing(
    broker: Broker, **settings: Any
) -> AsyncIterator[tuple[EventLog, Publisher, Position]]:
    async with broker.opened(**settings) as log:
        start = await log.end()
        # The first one opens the connection.
        await log.publish(b'{"since":0,"events":[]}')
        publisher = Publisher(log, broker.settings(**settings))
        yield log, publisher, start
        await publisher.close()


async def published(log: EventLog, start: Position, count: int) -> list[list[int]]:
    """The events' numbers, entry by entry."""
    found = (await batches(log, start, count + 1))[1:]
    return [[event["n"] for event in read_batch(batch).events] for batch in found]


@in_a_loop
async def test_events_of_one_turn_are_one_entry(broker: Broker) -> None:
    """And those of the next one another."""
    async with publishing(broker) as (log, publisher, start):
        for turn in range(3):
            await soon(asyncio.gather(*[publisher.submit({"n": 10 * turn + n}) for n in range(4)]))
        assert await published(log, start, 3) == [
            [0, 1, 2, 3],
            [10, 11, 12, 13],
            [20, 21, 22, 23],
        ]


@in_a_loop
async def test_an_entry_has_so_many_events(broker: Broker) -> None:
    """More than that are several entries."""
    async with publishing(broker, events_batch_max=4) as (log, publisher, start):
        await soon(asyncio.gather(*[publisher.submit({"n": n}) for n in range(10)]))
        assert await published(log, start, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@in_a_loop
async def test_an_entry_has_so_many_bytes(broker: Broker) -> None:
    """Unless one event alone is longer."""
    async with publishing(broker, events_batch_bytes_max=1024) as (log, publisher, start):
        fitting = 1023 // (EVENT_BYTES + 1)
        events: list[dict[str, Any]] = [{"n": 10 + n % 90} for n in range(fitting + 1)]
        events += [{"n": 99, "text": "x" * 2000}, {"n": 11}]
        await soon(asyncio.gather(*map(publisher.submit, events)))
        found = await batches(log, start, 5)
        read = [read_batch(batch).events for batch in found]
        assert list(map(len, read)) == [0, fitting, 1, 1, 1]
        assert len(codec.encode(read[1])) <= 1024
        assert [*chain(*read)] == events


@in_a_loop
async def test_order_holds_while_entries_are_under_way(broker: Broker) -> None:
    """Events that wait while others are under way share an entry."""
    async with publishing(broker, events_batches_max=2) as (log, publisher, start):
        confirmed = []
        for n in range(500):
            confirmed.append(publisher.submit({"n": n}))
            await asyncio.sleep(0)
        await soon(asyncio.gather(*confirmed))
        found: list[list[int]] = []
        async with aclosing(log.follow(start)) as following:
            while not found or 499 not in found[-1]:
                (entry,) = await entries(following, 1)
                found.append([event["n"] for event in read_batch(entry.batch).events])
        assert [*chain(*found)] == list(range(500))
        assert len(found) < 500


@in_a_loop
async def test_beyond_the_bound_an_event_is_refused(broker: Broker) -> None:
    """At once; and no longer when others have been confirmed."""
    async with publishing(broker, events_queue_max=3) as (log, publisher, start):
        confirmed = [publisher.submit({"n": n}) for n in range(3)]
        with pytest.raises(Unavailable):
            publisher.submit({"n": 3})
        await soon(asyncio.gather(*confirmed))
        await soon(publisher.submit({"n": 4}))
        assert await published(log, start, 2) == [[0, 1, 2], [4]]


@in_a_loop
async def test_a_caller_that_gives_up_disturbs_nobody(broker: Broker) -> None:
    """Before its event is sent, and while it is under way."""
    async with publishing(broker) as (log, publisher, start):
        early, kept = publisher.submit({"n": 0}), publisher.submit({"n": 1})
        early.cancel()
        await asyncio.sleep(0)
        late, other = publisher.submit({"n": 2}), publisher.submit({"n": 3})
        await asyncio.sleep(0)
        late.cancel()
        await soon(asyncio.gather(kept, other))
        assert {1, 3} <= set(chain(*await published(log, start, 2)))


@in_a_loop
async def test_nothing_is_there_whose_forerunner_is_not(broker: Broker) -> None:
    """A failure takes with it what was submitted later and is not confirmed."""
    settings = {"events_batch_max": 1, "events_retry_s": 0.01}
    async with publishing(broker, **settings) as (_, publisher, _):
        confirmed = [publisher.submit({"n": n}) for n in range(300)]
        await soon(confirmed[99])
        broker.server.kill()
        await asyncio.to_thread(broker.server.start)
        outcomes = await soon(asyncio.gather(*confirmed, return_exceptions=True))
    failed = [isinstance(outcome, Unavailable) for outcome in outcomes]
    assert failed == sorted(failed)
    assert not failed[99]


@in_a_loop
async def test_closing_publishes_what_waits(broker: Broker) -> None:
    """However much that is."""
    settings = {"events_batches_max": 1, "events_batch_max": 2}
    async with publishing(broker, **settings) as (log, publisher, start):
        confirmed = [publisher.submit({"n": n}) for n in range(7)]
        await soon(publisher.close())
        assert all(future.done() and future.exception() is None for future in confirmed)
        assert await published(log, start, 4) == [[0, 1], [2, 3], [4, 5], [6]]
