"""The peers that `bench.live.peers` measures really start, and deliver the bytes that they must.

And what must be noticed is: a server that sends something else, or twice.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.lab import frames, streams
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.workloads import Cell
from bench.live import peers_servers
from bench.live.client import Wrong
from bench.live.peers_scenes import (
    BURSTS,
    ONE_TO_ALL,
    Contender,
    deliver,
    http_to_frame,
    message,
    post,
)
from bench.live.peers_servers import Event, Face, Peer, Server
from bench.live.world import HUB, World
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.sql import migrate

SOCKETS = 5
# Those who listen, each a friend of the author's.
PEOPLE = f"""
INSERT INTO "user" (id, username, username_key, password_hash, first_name, last_name, first_key,
                    last_key)
OVERRIDING SYSTEM VALUE
SELECT n, 'u' || n, 'u' || n, '', '', '', '', ''
FROM generate_series(1, {SOCKETS}) n UNION ALL SELECT {HUB}, 'hub', 'hub', '', '', '', '', '';
INSERT INTO friend (user_id, friend_id, state, version)
SELECT n, {HUB}, 3, 1 FROM generate_series(1, {SOCKETS}) n
UNION ALL SELECT {HUB}, n, 3, 1 FROM generate_series(1, {SOCKETS}) n
"""
CORE = min(os.sched_getaffinity(0))
# In CI a missing npm fails the tests instead.
needs_node = pytest.mark.skipif(
    shutil.which("npm") is None and "CI" not in os.environ,
    reason="npm is missing: install Node.js 20 with npm",
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """PostgreSQL and Redis, with those who listen."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        redis = stack.enter_context(RedisServer())
        url = migrate(postgres, "bench")
        postgres.psql("bench", "-c", PEOPLE)
        postgres.psql("bench", "-c", peers_servers.PEER_TABLE)
        yield World(postgres, url, redis.url, stack)


@pytest.fixture(scope="module")
def starlette(world: World) -> Iterator[Server]:
    with peers_servers.starlette(world, "starlette", CORE) as server:
        yield server


async def delivers(server: Server, face: Face) -> None:
    """One event to all, one to one of them, some at once, and messages over HTTP."""
    contender = Contender(server, face)
    await contender.connect(SOCKETS)
    everybody = contender.audience.listeners
    try:
        await deliver(contender, [post(next(contender.numbers))], everybody)
        await deliver(contender, [message(next(contender.numbers), to=2)], everybody[1:2])
        await deliver(contender, [post(next(contender.numbers)) for _ in range(10)], everybody)
        assert (await http_to_frame(contender, number=1, seconds=0.2)).messages
    finally:
        await contender.close()


def test_starlette(starlette: Server) -> None:
    asyncio.run(delivers(starlette, starlette.face()))


def test_the_laboratory_measures_frames(world: World, tmp_path: Path) -> None:
    """A wrong frame would raise Wrong, as everywhere here."""
    arms = frames.arms(has_node=False)
    chosen = arms[0], next(one for one in arms if one.name == streams.NAME)
    cells = (Cell(ONE_TO_ALL, ""), Cell(BURSTS, ""))
    plan = Plan(chosen, cells, 1, 0.02, 0.01, SOCKETS, 0, 0)
    journal = Journal(tmp_path, "", plan.rounds, len(cells))
    frames.rounds(plan, world, journal, Progress())
    measured = {(one.arm, one.workload) for one in journal.windows}
    assert measured == {(arm.name, scene) for arm in chosen for scene in (ONE_TO_ALL, BURSTS)}
    for one in journal.windows:
        assert one.requests % SOCKETS == 0 and one.cpu_us > 0 and one.memory_mb > 1


@needs_node
@pytest.mark.parametrize("send", ["plain", "prepared", "corked"])
def test_node(world: World, send: str) -> None:
    peers_servers.install_node_peer()
    with peers_servers.node_ws(world, send, send, CORE) as server:
        asyncio.run(delivers(server, server.face()))


class Twice(Peer):
    """Makes its server send everything twice."""

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        return super().publish([*events, *events])


class Altered(Peer):
    """Makes its server send another type of frame."""

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        return super().publish([{**event, "type": "post.updated"} for event in events])


class ToEverybody(Peer):
    """Makes its server tell all of them what is for one."""

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        users = range(1, SOCKETS + 1)
        return super().publish([{**one, "to": list(users)} for one in events])


@pytest.mark.parametrize("face", [Twice, Altered])
def test_wrong_frames_are_noticed(world: World, starlette: Server, face: type[Peer]) -> None:
    with pytest.raises(Wrong):
        asyncio.run(delivers(starlette, face(world, "starlette")))


def test_a_frame_for_somebody_else_is_noticed(world: World, starlette: Server) -> None:
    async def told_to_all() -> None:
        contender = Contender(starlette, ToEverybody(world, "starlette"))
        await contender.connect(SOCKETS)
        readers = contender.audience.listeners[1:2]
        try:
            await deliver(contender, [message(next(contender.numbers), to=2)], readers)
            await contender.settled()
        finally:
            await contender.close()

    with pytest.raises(Wrong):
        asyncio.run(told_to_all())
