"""What is committed gets into the log, each event behind those that it must not overtake."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.redis import RedisServer
from hlfast import codec
from hlfast.db import mysql
from hlfast.db.postgres import connect
from hlfast.dialogs.schemas import MessageNew
from hlfast.events.outbox_row import VOID, OutboxRow
from hlfast.posts.schemas import PostNew, PostPatch
from tests.conftest import TEMPLATE, new_database
from tests.events.brokers import in_a_loop
from tests.events.outboxes import Happened, Office, Process, new_users, office

USERS = 4
Request = Callable[[Process], Awaitable[Any]]


@pytest.fixture
def people_database_url(migrated_database_url: str) -> str:
    """A database with users 1 to USERS."""
    assert asyncio.run(new_users(migrated_database_url, USERS)) == [*range(1, USERS + 1)]
    return migrated_database_url


def write(desk: Office, author: int, content: str = "A post") -> Request:
    return lambda process: desk.of(process).posts.create(author, PostNew(content=content))


def change(desk: Office, author: int, post_id: int) -> Request:
    patch = PostPatch(content="Changed")
    return lambda process: desk.of(process).posts.change(author, post_id, patch)


def delete(desk: Office, author: int, post_id: int) -> Request:
    return lambda process: desk.of(process).posts.delete(author, 0, post_id)


def befriend(desk: Office, me: int, other: int) -> Request:
    return lambda process: desk.of(process).friends.request(me, other)


def part(desk: Office, me: int, other: int) -> Request:
    return lambda process: desk.of(process).friends.remove(me, other)


def send(desk: Office, me: int, to: int) -> Request:
    new = MessageNew(content="A message")
    return lambda process: desk.of(process).dialogs.send(me, to, new)


def mark_read(desk: Office, me: int, other: int) -> Request:
    return lambda process: desk.of(process).dialogs.mark_read(me, other, 2**40)


def must_follow(first: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether clients must see the one before the other."""
    if "pair" in first:
        if "pair" in then:
            return set(first["pair"]) == set(then["pair"])
        decides = first["type"] in ("friend.added", "friend.removed")
        return decides and then.get("author") in first["pair"]
    if "author" in first:
        return first["author"] == then.get("author")
    return "to" in then and set(first["to"]) == set(then["to"])


def check_order(happened: list[Happened], published: list[dict[str, Any]]) -> None:
    """Everything is there, in its order; what is there twice is the same."""
    places: dict[str, int] = {}
    for place, event in enumerate(published):
        places.setdefault(event["id"], place)
    assert places.keys() == {one.event["id"] for one in happened}
    for first, then in itertools.permutations(happened, 2):
        if first.ended < then.began and must_follow(first.event, then.event):
            assert places[first.event["id"]] < places[then.event["id"]], (first, then)


@pytest.mark.parametrize(
    "kind", ["posts", "messages", "friends and posts", "pair", "pair and posts"]
)
@in_a_loop
async def test_one_process_does_not_wait_for_another(
    kind: str, people_database_url: str, redis_server: RedisServer
) -> None:
    async with office(people_database_url, redis_server.url, processes=3, users=USERS) as desk:
        slow, quick, _ = desk.processes
        requests = {
            "posts": [write(desk, 1), write(desk, 1), write(desk, 1)],
            "messages": [send(desk, 1, 2), send(desk, 2, 1), mark_read(desk, 1, 2)],
            # The one who was asked accepts; the other one's post is for a friend.
            "friends and posts": [befriend(desk, 2, 1), write(desk, 1), write(desk, 2)],
            "pair": [befriend(desk, 2, 1), part(desk, 1, 2), befriend(desk, 1, 2)],
            # Those of one wait with those of the other.
            "pair and posts": [befriend(desk, 2, 1), part(desk, 2, 1), write(desk, 1)],
        }[kind]
        await desk.ask(desk.processes[2], befriend(desk, 1, 2))
        # Else whoever comes after it may publish it, too.
        await desk.gone()
        slow.log.gate.clear()
        await desk.ask(slow, requests[0])
        for request in requests[1:]:
            await desk.ask(quick, request)
        # What the slow one has not published, the quick one does, each in its order.
        await desk.gone()
        assert slow.log.held
        quickly = await desk.published()
        check_order(desk.happened, quickly)
        assert len(quickly) == len(desk.happened)
        slow.log.gate.set()
        # It comes late, as a repeat.
        async with asyncio.timeout(30):
            while len(published := await desk.published()) == len(desk.happened):
                pass
        check_order(desk.happened, published)
        assert len(published) == len(desk.happened) + 1


@pytest.mark.parametrize("kind", ["posts", "messages"])
@in_a_loop
async def test_what_comes_through_many_processes_at_once_needs_no_sweep(
    kind: str, people_database_url: str, redis_server: RedisServer
) -> None:
    """Each event must follow one of another process; one of them publishes nothing any more."""
    async with office(
        people_database_url, redis_server.url, processes=4, users=USERS, outbox_age_s=1.0
    ) as desk:
        desk.processes[2].log.gate.clear()
        requests = {
            "posts": [write(desk, 1)],
            "messages": [send(desk, 1, 2), send(desk, 2, 1)],
        }[kind]
        for number in range(121):  # the last is not of the one that publishes nothing
            await desk.ask(desk.processes[number % 3], requests[number % len(requests)])
        await desk.gone()
        published = await desk.published()
        check_order(desk.happened, published)
        assert not [one for one in desk.processes if one.posts.swept or one.dialogs.swept]


@in_a_loop
async def test_requests_that_come_and_go_are_merged_into_the_latest(
    people_database_url: str, redis_server: RedisServer
) -> None:
    bounds = {"friend_events_max": 3, "friend_events_window_s": 0.5}
    async with office(
        people_database_url, redis_server.url, processes=2, users=USERS, **bounds
    ) as desk:
        for number in range(40):
            for process in desk.processes:
                act = befriend if number % 2 == 0 else part
                await desk.ask(process, act(desk, 1, 2))
        await desk.ask(desk.processes[0], befriend(desk, 1, 2))
        # What is held is not waited for, and neither is it published afterwards.
        await desk.ask(desk.processes[1], befriend(desk, 2, 1))
        await desk.ask(desk.processes[1], write(desk, 1))
        await desk.gone()
        first: dict[str, dict[str, Any]] = {}
        for one in await desk.published():
            first.setdefault(one["id"], one)
        told = [one for one in first.values() if one["type"] != VOID]
        assert len(told) < len(desk.happened) / 2
        assert [one["type"] for one in told if "pair" in one][-1] == "friend.added"
        places = {one["type"]: place for place, one in enumerate(told)}
        assert places["friend.added"] < places["post.created"]


@in_a_loop
async def test_a_failure_takes_along_what_came_after_it(
    people_database_url: str, redis_server: RedisServer
) -> None:
    async with office(
        people_database_url,
        redis_server.url,
        processes=2,
        users=USERS,
        events_batch_max=1,
        outbox_age_s=0.2,
    ) as desk:
        failing, _ = desk.processes
        failing.log.gate.clear()
        for _ in range(3):
            await desk.ask(failing, write(desk, 1))
        failing.log.fails_but_is_there = False
        failing.log.gate.set()
        # The first has failed; the log is well again before the others notice.
        async with asyncio.timeout(30):
            while failing.log.held:
                await asyncio.sleep(0)
        failing.log.fails_but_is_there = None
        await desk.ask(failing, write(desk, 1))
        await desk.settle()
        published = await desk.published()
        check_order(desk.happened, published)
        assert len({event["id"] for event in published}) == 4


@in_a_loop
async def test_what_a_dead_process_left_is_swept(
    people_database_url: str, redis_server: RedisServer
) -> None:
    async with office(people_database_url, redis_server.url, processes=2, users=USERS) as desk:
        dead, other = desk.processes
        dead.log.gate.clear()
        post, _ = await desk.ask(dead, write(desk, 1))
        gone, _ = await desk.ask(dead, write(desk, 1))
        await desk.ask(dead, change(desk, 1, post["id"]))
        await desk.ask(dead, delete(desk, 1, gone["id"]))
        await desk.ask(dead, befriend(desk, 1, 2))
        await desk.ask(dead, part(desk, 2, 1))
        await desk.ask(dead, send(desk, 1, 2))
        await desk.ask(dead, mark_read(desk, 2, 1))
        # What is younger stays where it is.
        assert await other.posts.sweep(3600.0, 100) == 0
        assert await other.dialogs.sweep(3600.0, 100) == 0
        assert await desk.left() == 8
        await desk.settle()
        published = await desk.published()
        told = {one.event["id"]: one.event for one in desk.happened}
        assert [event["id"] for event in published] == list(told)
        # The first post comes as it is now, of the other one only that it is gone.
        assert published[0]["data"]["post"]["content"] == "Changed"
        assert published[1]["type"] == VOID
        assert published[2:] == codec.decode(codec.encode(list(told.values())[2:]))


@pytest.mark.one_database  # MariaDB has no lock of a table that one can wait for so
@in_a_loop
async def test_who_gives_up_waiting_costs_no_connection(
    people_database_url: str, redis_server: RedisServer
) -> None:
    patience_s = 0.1
    async with office(
        people_database_url, redis_server.url, processes=2, users=USERS, outbox_age_s=patience_s
    ) as desk:
        dead, other = desk.processes
        dead.log.gate.clear()
        opened: list[None] = []
        await desk.ask(dead, write(desk, 1))
        [left] = await desk.database.fetch("outbox_left", -3600.0, 10)
        desk.database.load.renewed = lambda: opened.append(None)
        locking = await connect(people_database_url)
        async with locking.transaction():
            await locking.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
            # As if its row had been written before: nobody can now.
            after = [(1, left["event_id"])]
            other.posts.committed(OutboxRow(1, left["event_id"] + 1, after, {"id": "never told"}))
            async with asyncio.timeout(30):
                while not await locking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    pass
            # It looks, and has no more patience; however much later it is.
            await asyncio.sleep(patience_s)
        await locking.close()
        await desk.settle()
        check_order(desk.happened, await desk.published())
        assert not opened


BLOCKED = "SELECT cardinality(pg_blocking_pids($1)) > 0"
# Each waits for the other's commit.
MEETING = {
    "a change and another": ("post_change(1, 1, 'One', NULL)", "post_change(1, 1, 'Two', NULL)"),
    "a change and the end": ("post_change(1, 1, 'One', NULL)", "post_remove(1, 1)"),
    "two posts": (
        "post_create(1, 'One', 'public', NULL)",
        "post_create(1, 'Two', 'public', NULL)",
    ),
    "a friendship and its end": ("friend_put(2, 1, 9)", "friend_delete(1, 2)"),
}


@pytest.mark.one_database  # the same for MySQL is the next one
@pytest.mark.parametrize("meeting", MEETING)
@in_a_loop
async def test_an_event_knows_the_one_that_it_met(meeting: str, people_database_url: str) -> None:
    asked = "SELECT event_id, after_ids FROM "
    first, then = (asked + call for call in MEETING[meeting])
    one, other = await connect(people_database_url), await connect(people_database_url)
    try:
        for setting in ("post_create(1, 'A post', 'public', NULL)", "friend_put(1, 2, 9)"):
            await one.execute(f"SELECT FROM {setting}")
        await one.execute("DELETE FROM outbox")
        transaction = one.transaction()
        await transaction.start()
        before = await one.fetchrow(first)
        waiting = asyncio.create_task(other.fetchrow(then))
        async with asyncio.timeout(30):
            while not await one.fetchval(BLOCKED, other.get_server_pid()):
                pass
        await transaction.commit()
        assert (await waiting)["after_ids"] == [before["event_id"]]
    finally:
        await one.close()
        await other.close()


@pytest.mark.parametrize("meeting", MEETING)
def test_an_event_knows_the_one_that_it_met_in_mysql(
    meeting: str, mariadb_server: MariadbServer
) -> None:
    """A procedure commits by itself, so both wait for the lock that a third one holds."""
    url = new_database(mariadb_server, TEMPLATE)

    def waiting() -> int:
        asked = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        return int(mariadb_server.administer(asked))

    async def run() -> None:
        await new_users(url, USERS)
        sessions = [await mysql.connect(url) for _ in range(3)]
        holder, one, other = sessions
        for call in ("post_create(1, 'A post', 'public', NULL)", "friend_put(1, 2, 9)"):
            await mysql.query(holder, f"CALL {call}")
        await mysql.query(holder, "DELETE FROM outbox")
        await mysql.query(holder, "START TRANSACTION")
        # The locks of an author and of a pair.
        await mysql.query(holder, "SELECT id FROM user WHERE id = 1 FOR UPDATE")
        pair = "user_id = 1 AND friend_id = 2"
        await mysql.query(holder, f"SELECT state FROM friend WHERE {pair} FOR UPDATE")
        tasks = []
        for session, call in zip((one, other), MEETING[meeting], strict=True):
            tasks.append(asyncio.create_task(mysql.query(session, f"CALL {call}")))
            async with asyncio.timeout(30):
                while await asyncio.to_thread(waiting) < len(tasks):
                    # The server looks anew only when nobody has asked for 0.1 s.
                    await asyncio.sleep(0.2)
        await mysql.query(holder, "COMMIT")
        # Whichever the server let in first.
        rows = [row for [row] in await asyncio.gather(*tasks)]
        before, after = sorted(rows, key=lambda row: row["event_id"])
        assert after["after_ids"] == [before["event_id"]]
        for session in sessions:
            session.close()

    asyncio.run(run())


@in_a_loop
async def test_one_process_at_a_time_sweeps(
    people_database_url: str, redis_server: RedisServer
) -> None:
    async with office(people_database_url, redis_server.url, processes=1, users=USERS) as desk:

        async def takes(holder: str, lease_s: float) -> bool:
            found = await desk.database.fetch_row("lease_take", "sweep", holder, lease_s)
            return found is not None

        assert await takes("one", 3600.0)
        assert not await takes("other", 3600.0)
        assert await takes("one", 0.0)
        assert await takes("other", 3600.0)
        assert not await takes("one", 3600.0)


@pytest.mark.parametrize("seed", range(12))
@in_a_loop
async def test_any_order_of_requests_failures_and_sweeps(
    seed: int, people_database_url: str, redis_server: RedisServer
) -> None:
    chance = random.Random(seed)
    async with office(
        people_database_url,
        redis_server.url,
        processes=4,
        users=USERS,
        outbox_age_s=0.2,
        events_batch_max=chance.choice([1, 2, 512]),
    ) as desk:
        written: list[tuple[int, int]] = []

        async def one() -> None:
            me, other = chance.sample(range(1, USERS + 1), 2)
            process = chance.choice(desk.processes[:3])
            new_post = write(desk, me)
            requests = [
                new_post,
                new_post,
                befriend(desk, me, other),
                befriend(desk, me, other),
                part(desk, me, other),
                send(desk, me, other),
                send(desk, me, other),
                mark_read(desk, me, other),
            ]
            if written:
                author, post_id = chance.choice(written)
                requests += [change(desk, author, post_id), delete(desk, author, post_id)]
            request = chance.choice(requests)
            answer = await desk.ask(process, request)
            # None where a failure was made.
            if request is new_post and answer is not None:
                written.append((me, answer[0]["id"]))

        for _ in range(60):
            log = chance.choice(desk.processes[:3]).log
            match chance.randrange(6):
                case 0:
                    log.gate.clear()
                case 1:
                    log.fails_but_is_there = chance.choice([None, None, False, True])
                    log.gate.set()
                case 2:
                    for _ in range(chance.randrange(20)):
                        await asyncio.sleep(0)
                case 3:
                    await asyncio.gather(one(), one(), one())
                case _:
                    await one()
            if chance.random() < 0.05:
                await desk.processes[3].posts.sweep(0.0, chance.choice([2, 512]))
                await desk.processes[3].dialogs.sweep(0.0, 512)
        for process in desk.processes:
            process.log.fails_but_is_there = None
            process.log.gate.set()
        await desk.settle()
        check_order(desk.happened, await desk.published())
