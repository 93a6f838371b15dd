"""Servers that may die under load, and the ways in which they do."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from bench.crowd import Crowd
from bench.ledger.ledger import Ledger
from bench.ledger.reader import Balance, Reader, settled
from hl_utils.servers import rabbitmq
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import LogRedisServer, RedisServer
from hl_utils.servers.services import Api, Node

BROKERS = ("redis", "rabbitmq")
_POLL_S = 0.1
_DRAINED_WITHIN_S = 120.0
# Rows of before a moment; those of the load that goes on come and go.
_LEFT = """
SELECT (SELECT count(*) FROM outbox WHERE created_at < to_timestamp({before}))
     + (SELECT count(*) FROM messageoutbox WHERE created_at < to_timestamp({before}))
"""


@dataclass
class Fragile:
    """Two APIs, two nodes, and the server of their event log."""

    postgres: PostgresServer
    database: str
    broker: LogRedisServer | RabbitServer
    apis: list[Api]
    nodes: list[Node]

    def left(self, before: float | None = None) -> int:
        """Rows in the outboxes, written before a moment if one is given."""
        query = _LEFT.format(before="'infinity'" if before is None else before)
        return int(self.postgres.psql(self.database, "-c", query))

    async def drained(self) -> float:
        """Wait until all that is in the outboxes now is published; the seconds that it took."""
        before, began = time.time(), time.monotonic()
        async with asyncio.timeout(_DRAINED_WITHIN_S):
            while await asyncio.to_thread(self.left, before):
                await asyncio.sleep(_POLL_S)
        return time.monotonic() - began


@contextmanager
def fragile(
    kind: str,
    postgres: PostgresServer,
    database_url: str,
    *,
    api: Mapping[str, object],
    node: Mapping[str, object],
) -> Iterator[Fragile]:
    """Everything on a migrated database; `kind` is one of BROKERS."""
    with ExitStack() as stack:
        broker: LogRedisServer | RabbitServer
        if kind == "redis":
            broker = redis = stack.enter_context(LogRedisServer())
        else:
            assert rabbitmq.installed(), "RabbitMQ is not installed"
            broker = stack.enter_context(RabbitServer())
            broker.settle()
            redis = stack.enter_context(RedisServer())
        events = {"EVENTS_URL": broker.url}
        urls = database_url, redis.url
        apis = [stack.enter_context(Api(*urls, **events, **api)) for _ in range(2)]
        nodes = [stack.enter_context(Node(*urls, **events, **node)) for _ in range(2)]
        database = database_url.partition("?")[0].rpartition("/")[2]
        yield Fragile(postgres, database, broker, apis, nodes)


@dataclass
class Trial:
    """Servers, a load on them, and the clients of everybody."""

    servers: Fragile
    ledger: Ledger
    readers: Sequence[Reader]
    writing: Sequence[asyncio.Task[None]]
    # From the end of each fault until what had been in the outboxes then was published.
    drains_s: list[float] = field(default_factory=list)
    # In the outboxes when an API was killed that could not publish.
    orphans: int = 0

    async def drained(self) -> None:
        """Wait for it, and note how long."""
        self.drains_s.append(await self.servers.drained())

    async def kill(self, server: Api) -> None:
        """Kill an API or a node; it stays away for a moment."""
        server.kill()
        await asyncio.sleep(random.uniform(0.1, 1))
        await asyncio.to_thread(server.start)

    async def kill_at_random(self, servers: Sequence[Api], seconds: float) -> None:
        """One after the other, at moments that nobody chose."""
        ends = time.monotonic() + seconds
        for server in itertools.cycle(servers):
            await asyncio.sleep(random.uniform(0.2, 2))
            if time.monotonic() > ends:
                break
            await self.kill(server)
        await self.drained()

    async def kill_all_nodes(self) -> None:
        """Both at once: what they had in memory is nowhere."""
        await asyncio.gather(*map(self.kill, self.servers.nodes))

    async def kill_between_commit_and_publish(self, rows: int) -> None:
        """An API dies while so much that is committed waits for a log that hangs."""
        async with self.hanging():
            while (left := await asyncio.to_thread(self.servers.left)) < rows:
                await asyncio.sleep(_POLL_S)
            self.servers.apis[0].kill()
            self.orphans += left
        await self.drained()
        await asyncio.to_thread(self.servers.apis[0].start)

    async def kill_broker(self) -> None:
        """The event log's server dies and is started again."""
        with self.ledger.outage():
            self.servers.broker.kill()
            await asyncio.to_thread(self.servers.broker.start)
        await self.drained()

    async def kill_broker_and_api(self, rows: int) -> None:
        """What an API had committed for a dead log dies with it, but for the rows."""
        with self.ledger.outage():
            self.servers.broker.kill()
            while (left := await asyncio.to_thread(self.servers.left)) < rows:
                await asyncio.sleep(_POLL_S)
            self.servers.apis[1].kill()
            self.orphans += left
            await asyncio.to_thread(self.servers.broker.start)
        await self.drained()
        await asyncio.to_thread(self.servers.apis[1].start)

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """The event log's server neither answers nor closes anything."""
        process = self.servers.broker.process
        with self.ledger.outage():
            process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                process.send_signal(signal.SIGCONT)

    async def hang(self, seconds: float) -> None:
        """Stop the processes for so many seconds, then let them go on."""
        async with self.hanging():
            await asyncio.sleep(seconds)
        await self.drained()

    async def stop_broker(self, seconds: float) -> None:
        """Stopped as an operator does, and started later."""
        with self.ledger.outage():
            await asyncio.to_thread(self.servers.broker.stop)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.servers.broker.start)
        await self.drained()

    async def end(self, within_s: float) -> Balance:
        """End the load; what clients missed of it once they had so long to get it."""
        self.ledger.stop.set()
        await asyncio.gather(*self.writing)
        for server in (*self.servers.apis, *self.servers.nodes):
            assert server.process.poll() is None, f"it ended by itself:\n{server.log}"
        return await settled(self.ledger, self.readers, within_s)


@asynccontextmanager
async def trial(
    servers: Fragile,
    *,
    people: int,
    strangers: int,
    per_s: float | None = None,
    stay_s: float | None = None,
) -> AsyncIterator[Trial]:
    """A load during the block: so many friends of each other, each with a client on either node.

    `per_s`: requests that succeed, of all writers; without it as fast as answers come. `stay_s`:
    see Reader.
    """
    urls = [api.url for api in servers.apis]
    nodes = [node.ws_url for node in servers.nodes]
    async with Crowd(urls[0], 1, processes=1) as crowd:
        friends = await crowd.people(people)
        others = await crowd.people(strangers)
        for one, other in itertools.combinations(friends, 2):
            await crowd.befriend(one, other)
    await servers.drained()
    ledger = Ledger(urls)
    readers = [
        Reader(ledger, order, person, stay_s)
        for person in friends
        for order in (nodes, nodes[::-1])
    ]
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(reader.run()) for reader in readers]
        await asyncio.gather(*(reader.is_there.wait() for reader in readers))
        load = ledger.load(friends, others)
        ledger.interval_s = len(load) / per_s if per_s else 0.0
        writing = [group.create_task(writer) for writer in load]
        yield Trial(servers, ledger, readers, writing)
        for task in (*reading, *writing):
            task.cancel()
