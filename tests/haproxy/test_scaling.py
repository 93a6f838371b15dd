"""Nodes come, drain and die under 600 sockets, and nobody misses what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvloop

from bench.crowd import Crowd, Person
from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import Api, Node
from tests.conftest import TEMPLATE, new_database
from tests.haproxy.audience import Audience, Listener, until

SOCKETS, PEOPLE = 600, 20
PAUSE_S = 0.2
POSTS_BETWEEN = 6
# Of a node's first half of it, in which it closes its sockets.
DRAIN_TIMEOUT_S = 6


@dataclass
class House:
    """What is behind the door, and the door, with one of the nodes as its only one."""

    api: Api
    nodes: list[Node]
    proxy: Proxy


@pytest.fixture
def house(postgres_server: PostgresServer) -> Iterator[House]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        redis = stack.enter_context(LogRedisServer())
        servers = new_database(postgres_server, TEMPLATE), redis.url
        settings = {
            "HLFAST_TRUSTED_PROXIES": "127.0.0.1",
            "HLFAST_DRAIN_TIMEOUT_S": DRAIN_TIMEOUT_S,
        }
        api = stack.enter_context(Api(*servers, **settings))
        nodes = [stack.enter_context(Node(*servers, **settings)) for _ in range(2)]
        proxy = stack.enter_context(Proxy([api.port], [nodes[0].port]))
        proxy.wait_until_up()
        yield House(api, nodes, proxy)


class Author:
    """Posts one after the other through the door; anything but 201 fails the test."""

    def __init__(self, url: str, person: Person) -> None:
        self._url, self._person = url, person
        self.posts: list[int] = []

    async def write(self) -> None:
        """Write until cancelled."""
        headers = {"Authorization": f"Bearer {self._person.token}"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=30) as client:
            for number in itertools.count(1):
                answer = await client.post("/api/v1/posts", json={"content": f"Post {number}"})
                assert answer.status_code == 201, answer.text
                self.posts.append(answer.json()["id"])
                await asyncio.sleep(PAUSE_S)

    async def reach(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self.posts) + more
        await until(lambda: len(self.posts) >= wanted, "the author does not get on")


async def _people(url: str) -> Sequence[Person]:
    """An author, and their friends."""
    async with Crowd(url, 1, processes=1) as crowd:
        author, *friends = await crowd.people(1 + PEOPLE)
        for friend in friends:
            await crowd.befriend(author, friend)
    return author, *friends


@asynccontextmanager
async def show(house: House) -> AsyncIterator[tuple[Author, Audience]]:
    """An author who writes while the block runs, before 600 sockets of the author's friends.

    Afterwards each has got every post that was acknowledged, and nobody saw an HTTP error.
    """
    person, *friends = await _people(house.api.url)
    port = house.proxy.port
    audience = Audience(Listener(port, friends[n % PEOPLE]) for n in range(SOCKETS))
    author = Author(house.proxy.url, person)
    await audience.come()
    writing = asyncio.create_task(author.write())
    try:
        await author.reach(POSTS_BETWEEN)
        yield author, audience
        await author.reach(POSTS_BETWEEN)
        assert not writing.done(), writing.exception()
    finally:
        writing.cancel()
        await asyncio.wait([writing])
    assert writing.cancelled(), writing.exception()
    # One that was cancelled may have been written and not be noted.
    await audience.has_all(author.posts)
    assert not [listener.refusals for listener in audience if listener.refusals]
    assert all(all(listener.recovered) for listener in audience)
    for listener in audience:
        listener.leave()


def test_a_node_is_added_and_another_one_drained(house: House) -> None:
    first, second = house.nodes
    proxy = house.proxy

    async def run() -> None:
        async with show(house) as (author, audience):
            assert len(audience.nodes) == 1
            proxy.nodes.append(second.port)
            await asyncio.to_thread(proxy.reload)
            await asyncio.to_thread(proxy.wait_until_up)
            await author.reach(POSTS_BETWEEN)
            # Nobody noticed: the old process has them all.
            assert not audience.ends
            listed = await asyncio.to_thread(proxy.drain)
            assert f"127.0.0.1:{first.port}" in listed and f" {SOCKETS} connections" in listed
            told = await asyncio.to_thread(proxy.drain, "websocket/ws1")
            assert f"{SOCKETS} connections are left" in told
            assert proxy.statistics()["websocket/ws1"]["status"] == "DRAIN"
            await author.reach(POSTS_BETWEEN)
            assert not audience.ends
            before = set(audience.nodes)
            await asyncio.to_thread(first.stop)
            await until(
                lambda: audience.nodes.total() == SOCKETS and len(audience.nodes) == 1,
                "not all came back",
            )
            await until(lambda: all(listener.recovered for listener in audience), "not all resumed")
            assert audience.ends == {1001: SOCKETS}
            assert not before & set(audience.nodes)

    uvloop.run(run())
    assert "Traceback" not in first.log + second.log + house.api.log


def test_a_node_is_killed(house: House) -> None:
    first, second = house.nodes
    house.proxy.nodes.append(second.port)
    house.proxy.reload()
    house.proxy.wait_until_up()

    async def run() -> None:
        async with show(house) as (author, audience):
            # By least connections.
            assert sorted(audience.nodes.values()) == [SOCKETS // 2] * 2
            first.kill()
            await author.reach(POSTS_BETWEEN)
            await until(
                lambda: sum(bool(listener.recovered) for listener in audience) == SOCKETS // 2,
                "not all resumed",
            )
            # Cut off, without a word.
            assert audience.ends == {0: SOCKETS // 2}
            assert list(audience.nodes.values()) == [SOCKETS]

    uvloop.run(run())
    assert "Traceback" not in second.log + house.api.log
