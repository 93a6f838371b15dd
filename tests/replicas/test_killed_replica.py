"""A replica that dies under load costs no request, and is used again when it is back."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.crowd import Answer, Ask, Crowd, Line, Person
from hl_utils.servers import families
from hl_utils.servers.replicated import Cluster, Member, answered
from hl_utils.servers.services import Api
from tests.crash.load import until

PAIRS = 4
GROWTH = 150


class Pair:
    """Two friends who write and look, each answer held against what it must be."""

    def __init__(self, url: str, me: Person, friend: Person) -> None:
        self._url, self._me, self._friend = url, me, friend
        self.statuses: Counter[int] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Write until the test stops it. Any failure is raised."""
        line = await Line.open(self._url)
        me, friend = self._me, self._friend
        posts: list[object] = []
        for count in itertools.count():
            if stop.is_set():
                break
            written = await self._ask(line, me.ask("POST", "/posts", {"content": f"{count}"}))
            posts.insert(0, written.json)
            del posts[10:]
            wall = await self._ask(line, friend.ask("GET", f"/users/{me.id}/posts?limit=10"))
            assert wall.json["items"] == posts
            feed = await self._ask(line, friend.ask("GET", "/feed?limit=10"))
            assert feed.json["items"] == posts
            name = f"n{me.id}x{count}x"
            await self._ask(line, me.ask("PATCH", "/users/me", {"first_name": name}))
            found = await self._ask(line, Ask("GET", f"/users/search?first_name={name}"))
            assert [user["id"] for user in found.json["items"]] == [me.id]
        line.close()

    async def _ask(self, line: Line, ask: Ask) -> Answer:
        answer = await line.ask(ask)
        self.statuses[answer.status] += 1
        assert answer.status in (200, 201), answer
        return answer


@asynccontextmanager
async def load(api: Api) -> AsyncIterator[list[Pair]]:
    """Pairs at work during the block; none may meet a failure."""
    stop = asyncio.Event()
    async with Crowd(api.url, 1, 1) as crowd:
        people = await crowd.people(2 * PAIRS)
        for me, friend in zip(people[::2], people[1::2], strict=True):
            await crowd.befriend(me, friend)
    pairs = [Pair(api.url, *people[2 * n : 2 * n + 2]) for n in range(PAIRS)]
    async with asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(pair.run(stop))
        try:
            yield pairs
        finally:
            stop.set()


async def replicas_answer(api: Api, by: int) -> None:
    """Wait until they have answered so many reads more."""
    wanted = (await asyncio.to_thread(answered, api)).get("replica", 0) + by

    async def enough() -> bool:
        return (await asyncio.to_thread(answered, api)).get("replica", 0) >= wanted

    async with asyncio.timeout(60):
        while not await enough():
            await asyncio.sleep(0.05)


async def work_goes_on(pairs: list[Pair], by: int) -> None:
    """Wait until there were so many answers more."""
    wanted = sum(pair.statuses.total() for pair in pairs) + by
    await until(lambda: sum(pair.statuses.total() for pair in pairs) >= wanted, "nothing goes on")


def test_killed_replicas_cost_no_request(cluster: Cluster, replicated: Api) -> None:
    async def run() -> None:
        async with load(replicated) as pairs:
            await replicas_answer(replicated, GROWTH)
            last: Member | None = None
            for victim in (cluster.b, cluster.c, cluster.b):
                await asyncio.to_thread(victim.kill)
                await work_goes_on(pairs, GROWTH)
                if last is not None:
                    # Killed before: the only one now, so it is used again.
                    await replicas_answer(replicated, GROWTH)
                await asyncio.to_thread(victim.start)
                last = victim
                await asyncio.to_thread(cluster.until_followed, cluster.a, victim)
                await replicas_answer(replicated, GROWTH)
        print("\nanswers:", sum((pair.statuses for pair in pairs), Counter()), answered(replicated))

    asyncio.run(run())


def test_replicas_that_hang_cost_no_request(cluster: Cluster, replicated: Api) -> None:
    async def run() -> None:
        async with load(replicated) as pairs:
            await replicas_answer(replicated, GROWTH)
            for member in (cluster.b, cluster.c):
                families.signal_all(member, signal.SIGSTOP)
            try:
                await work_goes_on(pairs, GROWTH)
            finally:
                for member in (cluster.b, cluster.c):
                    families.signal_all(member, signal.SIGCONT)
            await replicas_answer(replicated, GROWTH)

    asyncio.run(run())
