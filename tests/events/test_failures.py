"""The event log's server is killed, stopped, hangs, or loses the log: what stays true."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from hl_utils.servers import families
from hlfast.errors import Unavailable
from hlfast.events.log import Entry, Position, Reset
from hlfast.events.publisher import Publisher, read_batch
from hlfast.events.redis_wire import RedisWire
from tests.events.brokers import (
    Broker,
    RedisBroker,
    batches,
    entries,
    first_item,
    in_a_loop,
    soon,
    until_available,
)


@in_a_loop
async def test_a_killed_server_has_what_it_confirmed_and_is_written_to_again(
    broker: Broker,
) -> None:
    """Killed with a confirm just received, many publishes under way.

    While it is away all fails at once, and later works with the same objects, whether they were
    connected before or not.
    """
    few = {"events_timeout_s": 1.0, "events_queue_max": 3}
    async with broker.opened() as used, broker.opened() as fresh, broker.opened(**few) as third:
        start = await used.end()
        # An entry of this one has several events.
        publisher = Publisher(third, broker.settings(**few))
        await soon(publisher.submit({"n": 0}))
        publishing = [asyncio.ensure_future(used.publish(b"%d" % n)) for n in range(200)]
        await soon(publishing[99])
        broker.server.kill()
        outcomes = await soon(asyncio.gather(*publishing, return_exceptions=True))
        confirmed = [n for n, outcome in enumerate(outcomes) if outcome is None]
        assert len(confirmed) >= 100
        assert all(outcome is None or isinstance(outcome, Unavailable) for outcome in outcomes)
        for log in (used, fresh):
            with pytest.raises(Unavailable):
                await soon(log.publish(b"meanwhile"))
            with pytest.raises(Unavailable):
                await soon(log.end())
            log.broadcast(b"unheard")
        # Later events are tried all the same, and are under way no more.
        for _ in range(2):
            submitted = [publisher.submit({"n": n}) for n in range(3)]
            failed = await soon(asyncio.gather(*submitted, return_exceptions=True))
            assert all(isinstance(outcome, Unavailable) for outcome in failed)
        await publisher.close()
        found: list[bytes] = []
        async with aclosing(fresh.follow(start)) as following:
            first = asyncio.ensure_future(entries(following, 1))
            await asyncio.sleep(0)
            await asyncio.to_thread(broker.server.start)
            for log in (used, fresh):
                await until_available(lambda: log.publish(b"after"))  # noqa: B023
            (event,) = await first
            assert [one["n"] for one in read_batch(event.batch).events] == [0]
            while found.count(b"after") < 2:
                found += [entry.batch for entry in await entries(following, 1)]
    *numbers, _, _ = found
    assert found[-2:] == [b"after", b"after"]
    assert set(confirmed) <= set(map(int, numbers))
    assert list(map(int, numbers)) == sorted(map(int, numbers))


@in_a_loop
async def test_followers_and_listeners_outlast_the_server(broker: Broker) -> None:
    """Killed twice under load: nothing confirmed is missing, and no position comes twice.

    What was broadcast meanwhile is lost, what is broadcast afterwards is heard.
    """
    async with broker.opened() as log, aclosing(log.listen()) as listening:
        start = await log.end()
        reached = {100: asyncio.Event(), 300: asyncio.Event()}

        async def publish() -> None:
            for number in range(600):
                await until_available(lambda: log.publish(b"%d" % number))  # noqa: B023
                if number in reached:
                    reached[number].set()

        async def hear(word: bytes) -> None:
            heard = b""
            while heard != word:
                hearing = asyncio.ensure_future(soon(anext(listening)))
                while not hearing.done():
                    log.broadcast(word)
                    await asyncio.wait([hearing], timeout=0.05)
                heard = hearing.result()

        async def kill() -> None:
            await hear(b"before")
            for number, moment in reached.items():
                await moment.wait()
                broker.server.kill()
                await asyncio.to_thread(broker.server.start)
                await hear(b"after %d" % number)

        found: list[Entry] = []

        async def follow() -> None:
            async with aclosing(log.follow(start)) as following:
                while not found or found[-1].batch != b"599":
                    found.extend(await entries(following, 1))

        await asyncio.gather(publish(), kill(), follow())
    positions = [entry.position for entry in found]
    assert positions == sorted(set(positions))
    numbers = [int(entry.batch) for entry in found]
    # One whose confirm was lost was published again, next to the first.
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(600))


@in_a_loop
async def test_a_server_that_hangs_holds_up_nobody_for_long(broker: Broker) -> None:
    """And goes on being used when it does."""
    async with broker.opened(events_timeout_s=1.0) as used, broker.opened() as follower:
        start = await used.end()
        await used.publish(b"before")
        async with (
            broker.opened(events_timeout_s=1.0) as fresh,
            aclosing(follower.follow(start)) as following,
        ):
            await entries(following, 1)
            await asyncio.to_thread(families.freeze, broker.server.process)
            waiting = [log.publish(b"%d" % n) for n in range(50) for log in (used, fresh)]
            outcomes = await soon(
                asyncio.gather(*waiting, used.end(), fresh.end(), return_exceptions=True)
            )
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            broker.server.process.send_signal(signal.SIGCONT)
            for log in (used, fresh):
                await until_available(lambda: log.publish(b"after"))  # noqa: B023
            seen: list[bytes] = []
            while seen.count(b"after") < 2:
                seen += [entry.batch for entry in await entries(following, 1)]


@in_a_loop
async def test_a_log_made_anew_is_noticed(broker: Broker) -> None:
    """By those who follow it, by those who come back, and by those who publish."""
    async with broker.opened() as log, broker.opened() as other:
        start = await log.end()
        await other.publish(b"other's old")
        await log.publish(b"old")
        async with aclosing(log.follow(start)) as following:
            await entries(following, 2)
            await broker.lose()
            await until_available(lambda: other.publish(b"new"))
            # This one was connected before; it must not write for the old log.
            end = await other.end()
            await until_available(lambda: log.publish(b"new, too"))
            assert await batches(other, end, 1) == [b"new, too"]
            reset = await soon(anext(following))
            assert isinstance(reset, Reset)
            assert reset.position.epoch != start.epoch
        anew = await first_item(other, start)
        assert isinstance(anew, Reset)
        assert anew.position.epoch == reset.position.epoch == (await log.end()).epoch
        await log.publish(b"newest")
        assert await batches(other, anew.position, 1) == [b"newest"]


@in_a_loop
async def test_a_quiet_log_made_anew_is_noticed_too(broker: Broker) -> None:
    """Though nobody publishes."""
    async with broker.opened() as log, aclosing(log.follow(None)) as following:
        start = await soon(anext(following))
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        await broker.lose()
        reset = await soon(waiting)
        assert isinstance(reset, Reset)
        assert reset.position.epoch != start.position.epoch


@in_a_loop
async def test_positions_that_the_log_never_had_are_refused(broker: Broker) -> None:
    """Of another epoch; beyond the end, as after a power cut; out of a forged cursor."""
    async with broker.opened() as log:
        end = await log.end()
        await log.publish(b"x")
        for position in (
            Position("other", end.offset),
            Position(end.epoch, end.offset + (1 << 40)),
            Position(end.epoch, (1 << 96) - 1),
        ):
            assert isinstance(await first_item(log, position), Reset)
        assert await first_item(log, end) != Reset(end)


@pytest.mark.parametrize(
    ("sender", "name", "number"),
    [(AbstractConnection, "_send_packed_command", 1), (RedisWire, "ask", 1), (RedisWire, "ask", 2)],
    ids=["connecting", "first read", "second read"],
)
@in_a_loop
async def test_a_follower_that_is_cancelled_as_it_sends_ends(
    redis_broker: RedisBroker,
    monkeypatch: pytest.MonkeyPatch,
    sender: type[Any],
    name: str,
    number: int,
) -> None:
    """In Python 3.11 asyncio.wait_for, by which redis-py sends, would forget it."""
    async with redis_broker.opened() as log:
        start = await log.end()

        async def follow() -> None:
            async for _ in log.follow(start):
                pass

        following = asyncio.create_task(follow())
        send = getattr(sender, name)
        sent = 0

        async def send_and_cancel(*arguments: Any) -> Any:
            nonlocal sent
            sent += 1
            # A redis-py that has sent forgets it; what asks hears of it before the answer.
            sending = send(*arguments)
            answer = await sending if sender is AbstractConnection else None
            if sent == number:
                following.cancel()
            return answer if sender is AbstractConnection else await sending

        monkeypatch.setattr(sender, name, send_and_cancel)
        done, _ = await asyncio.wait([following], timeout=30)
        assert done
        assert following.cancelled()


@pytest.mark.parametrize(
    "number", range(1, 5), ids=["connecting", "signing in", "subscribing", "ping"]
)
@in_a_loop
async def test_a_listener_that_is_cancelled_as_it_sends_ends(
    redis_broker: RedisBroker, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The same of broadcasts, for which redis-py sends all that is sent, if only once a second."""
    async with redis_broker.opened() as log:

        async def listen() -> None:
            async for _ in log.listen():
                pass

        listening = asyncio.create_task(listen())
        send = AbstractConnection._send_packed_command
        sent = 0

        async def send_and_cancel(*arguments: Any) -> None:
            nonlocal sent
            await send(*arguments)
            sent += 1
            if sent == number:
                listening.cancel()

        monkeypatch.setattr(AbstractConnection, "_send_packed_command", send_and_cancel)
        done, _ = await asyncio.wait([listening], timeout=30)
        assert done
        assert listening.cancelled()
        assert sent >= number
