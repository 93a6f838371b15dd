"""Nothing that was acknowledged is lost, whatever dies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.conftest import TEMPLATE, new_database
from tests.crowd import Crowd
from tests.events.brokers import LogRedisServer
from tests.live.conftest import API, NODE
from tests.live.ledger import Ledger, Reader
from tests.nodes import Node
from tests.servers import Api, PostgresServer, wait_until

PEOPLE = 5
AT_LEAST = 60


@dataclass
class Fragile:
    """Servers that a test may kill."""

    redis: LogRedisServer
    apis: list[Api]
    nodes: list[Node]


@pytest.fixture
def fragile(postgres_server: PostgresServer) -> Iterator[Fragile]:
    with ExitStack() as stack:
        redis = stack.enter_context(LogRedisServer())
        servers = new_database(postgres_server, TEMPLATE), redis.url
        apis = [stack.enter_context(Api(*servers, **API)) for _ in range(2)]
        nodes = [stack.enter_context(Node(*servers, **NODE)) for _ in range(2)]
        yield Fragile(redis, apis, nodes)


async def _kill_one_after_the_other(fragile: Fragile, ledger: Ledger) -> None:
    await ledger.reach(AT_LEAST)
    fragile.nodes[0].kill()
    await ledger.reach(AT_LEAST)
    await asyncio.to_thread(fragile.nodes[0].start)
    fragile.apis[0].kill()
    await ledger.reach(AT_LEAST)
    await asyncio.to_thread(fragile.apis[0].start)
    await ledger.reach(AT_LEAST)
    fragile.redis.kill()
    # The API goes on answering. What it cannot publish, another one has to.
    await ledger.reach(AT_LEAST)
    fragile.apis[1].kill()
    await ledger.reach(AT_LEAST)
    await asyncio.to_thread(fragile.redis.start)
    await ledger.reach(AT_LEAST)
    ledger.stop.set()


def test_every_acknowledged_post_and_message_arrives(
    fragile: Fragile, postgres_server: PostgresServer
) -> None:
    urls = [api.url for api in fragile.apis]

    async def run() -> None:
        async with Crowd(urls[0], 1, processes=1) as crowd:
            people = await crowd.people(PEOPLE)
            for one, other in itertools.combinations(people, 2):
                await crowd.befriend(one, other)
        ledger = Ledger(urls)
        nodes = [node.ws_url for node in fragile.nodes]
        ids = [person.id for person in people]
        # Two sockets of each, one on either node; who is cut off stays with the other one.
        readers = [
            Reader(order, person, [friend for friend in ids if friend != person.id])
            for person in people
            for order in (nodes, nodes[::-1])
        ]
        reading = [asyncio.create_task(reader.run()) for reader in readers]
        await asyncio.gather(*(reader.is_there.wait() for reader in readers))
        pairs = list(itertools.pairwise(people))
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(ledger.write_posts(person))
            for one, other in pairs:
                group.create_task(ledger.write_messages(one, other))
                group.create_task(ledger.write_messages(other, one))
            group.create_task(_kill_one_after_the_other(fragile, ledger))
        await asyncio.gather(*(reader.has_all(ledger) for reader in readers))
        assert sum(reader.reconnects for reader in readers) == PEOPLE
        for task in reading:
            assert not task.done()
            task.cancel()

    asyncio.run(run())
    database = fragile.apis[0].settings["DATABASE_URL"].partition("?")[0].rpartition("/")[2]
    left = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dialogoutbox)"
    wait_until(
        lambda: postgres_server.psql(database, "-c", left).strip() == "0",
        "the outboxes are not empty",
    )
    for server in (*fragile.apis, *fragile.nodes):
        assert "Traceback" not in server.log, server.log
