"""Shards are written anew while messages flow: none is lost, doubled, stuck, or without its frame.

The ledger holds every answer against the table and against every frame.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
import pytest

from bench.crowd import Crowd
from bench.ledger.ledger import Ledger
from bench.ledger.reader import Balance, Reader, settled
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import Api, Node
from hlfast.dialogs.dialog_ids import dialog_id
from tests.citus.clusters import Cluster, at, execute, fresh
from tests.citus.conftest import distribute
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

PAIRS = 24
PER_S = 250.0
# Acknowledged before, between and after the commands: twice for each of those who write.
AT_LEAST = 4 * PAIRS
ARRIVES_WITHIN_S = 30.0
# As many connections as there may be sends that wait, and few to open.
SETTINGS = {"HLFAST_DATABASE_POOL_SIZE": 8, "HLFAST_ACCESS_TOKEN_S": 36_000}
STALL = re.compile(r"the longest that a message had to wait: (\d+\.\d) s")
BEHIND = """
SELECT d.dialog_id FROM dialog AS d
JOIN (SELECT dialog_id, count(*) AS n, max(id) AS id FROM message GROUP BY dialog_id) AS m
USING (dialog_id)
WHERE d.last_message_id <> m.id OR m.n <> m.id
"""
LOCKED = "BEGIN; LOCK TABLE dialog, messageoutbox, message; {}; COMMIT"


class Stack(NamedTuple):
    """An API and a node whose dialogs are on a cluster of a coordinator and two workers."""

    cluster: Cluster
    api: Api
    node: Node


@pytest.fixture(scope="module")
def stack(postgres_server: PostgresServer) -> Iterator[Stack]:
    """One for all tests here: each leaves the dialogs distributed."""
    main = new_database(postgres_server, TEMPLATE)
    with LogRedisServer() as redis, fresh() as cluster:
        distribute(cluster)
        urls = {"DIALOGS_DATABASE_URL": cluster.url, "EVENTS_URL": redis.url}
        with (
            Api(main, redis.url, **urls, **SETTINGS) as api,
            Node(main, redis.url, **urls, **SETTINGS) as node,
        ):
            yield Stack(cluster, api, node)


@dataclass
class Load:
    """Pairs who write to each other all the time, each with a client of the node."""

    cluster: Cluster
    ledger: Ledger
    found: Balance = field(default_factory=lambda: Balance(0))

    async def shards(self, *argv: str) -> str:
        """What a command printed; messages flow after it as before."""
        said = await asyncio.to_thread(self.cluster.shards, *argv)
        await self.ledger.reach(AT_LEAST)
        return said

    async def psql(self, sql: str) -> None:
        """Run a statement on the coordinator, as by hand. Raises asyncpg.PostgresError."""
        connection = await asyncpg.connect(self.cluster.url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()
            await self.ledger.reach(AT_LEAST)


@asynccontextmanager
async def load(stack: Stack) -> AsyncIterator[Load]:
    """The load during the block, which is held against the ledger after it."""
    async with Crowd(stack.api.url, 1, processes=1) as crowd:
        people = await crowd.people(2 * PAIRS)
    ledger = Ledger([stack.api.url])
    readers = [Reader(ledger, [stack.node.ws_url], person) for person in people]
    one = Load(stack.cluster, ledger)
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(reader.run()) for reader in readers]
        await asyncio.gather(*(reader.is_there.wait() for reader in readers))
        talk = ledger.talk(list(zip(people[::2], people[1::2], strict=True)))
        ledger.interval_s = len(talk) / PER_S
        writing = [group.create_task(writer) for writer in talk]
        await ledger.reach(AT_LEAST)
        yield one
        ledger.stop.set()
        await asyncio.gather(*writing)
        one.found = await settled(ledger, readers, ARRIVES_WITHIN_S)
        for task in reading:
            task.cancel()


def assert_right(stack: Stack, one: Load) -> None:
    """Every answer is in the table once and came in a frame, and none was a 500."""
    assert one.found.is_right, one.found
    assert one.found.received == one.found.expected > 0
    assert {answer.status for answer in one.ledger.answered} <= {201, 204, 503}
    assert not re.search(r"Request \S+ failed", stack.api.log), "a 500 was written"
    stored = {(row[0], row[1]) for row in stack.cluster.ask("SELECT dialog_id, id FROM message")}
    acknowledged = {
        (dialog_id(stream.one, stream.other), number)
        for stream, facts in one.ledger.streams.items()
        if stream.kind == "message"
        for number in facts
    }
    # Others may be of another test.
    mine = {dialog for dialog, _ in acknowledged}
    assert {row for row in stored if row[0] in mine} == acknowledged
    assert stack.cluster.ask(BEHIND) == []


def test_every_command_that_writes_all_anew_under_load(stack: Stack) -> None:
    async def run() -> tuple[Load, list[str]]:
        async with load(stack) as one:
            said = [await one.shards(*argv.split()) for argv in COMMANDS]
        return one, said

    one, said = asyncio.run(run())
    assert_right(stack, one)
    for text in said:
        stall = STALL.search(text)
        assert stall is not None, text
        assert float(stall[1]) >= 0


# Down, up by splitting, up by writing anew, and there and back.
COMMANDS = ("count 4", "count 8", "count 9", "undistribute", "init", "count 3")


def test_typed_by_hand_it_is_refused_or_waits_for_those_who_write(stack: Stack) -> None:
    async def run() -> Load:
        async with load(stack) as one:
            for statement in UNLOCKED:
                with pytest.raises(asyncpg.ObjectInUseError, match="lock all dialogs") as refused:
                    await one.psql(statement)
                assert "shards count N" in str(refused.value.hint)
            for statement in UNLOCKED[:2]:
                wanted = sum(await asyncio.to_thread(stack.cluster.spread)) + 1
                await one.psql(LOCKED.format(statement.replace("6", str(wanted))))
                assert sum(await asyncio.to_thread(stack.cluster.spread)) == wanted
        return one

    assert_right(stack, asyncio.run(run()))


UNLOCKED = (
    "SELECT alter_distributed_table('message', shard_count := 6, cascade_to_colocated := true)",
    "SELECT alter_distributed_table('dialog', shard_count := 6, cascade_to_colocated := true)",
    "SELECT alter_distributed_table('message', shard_count := 6, cascade_to_colocated := false)",
    "SELECT undistribute_table('messageoutbox')",
)


def test_a_node_that_does_not_have_the_new_tables_yet_is_a_503(stack: Stack) -> None:
    """For a moment after the commit, which each node does by itself."""
    with Client(stack.api.url) as anyone:
        me, other = anyone.user(), anyone.user()
        me.send_to(other)
        (home,) = stack.cluster.ask(
            "SELECT shard_name('message', shardid) AS shard, nodename, nodeport "
            "FROM pg_dist_placement JOIN pg_dist_node USING (groupid) "
            "WHERE shardid = get_shard_id_for_distribution_column('message', $1::bigint)",
            dialog_id(me.id, other.id),
        )
        where = f"{home['nodename']}:{home['nodeport']}"
        (url,) = [url for url in stack.cluster.urls if at(url) == where]
        rename = "ALTER TABLE {} RENAME TO {}"
        manually = "SET citus.enable_manual_changes_to_shards = on; "
        execute(url, manually + rename.format(home["shard"], "message_elsewhere"))
        try:
            # A read, as the node's plans of a send are of the table, whatever its name is.
            answer = me.get(f"/dialogs/{other.id}/messages")
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
        finally:
            execute(url, manually + rename.format("message_elsewhere", home["shard"]))
        assert len(me.items(f"/dialogs/{other.id}/messages")) == 1
