"""Dialogs that release 0a7dc31 has spread over a cluster, under the newest schema."""

from __future__ import annotations

from pathlib import Path

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.db import queries
from tests.citus.clusters import Cluster
from tests.conftest import TEMPLATE, new_database
from tests.upgrade import after, before
from tests.upgrade.before import END, REFUSING, Process, pair
from tests.upgrade.rolling import roll

NEIGHBOURS = 3001
# What `hlfast shards init` said then.
INIT = (
    "SELECT create_distributed_table('dialog', 'dialog_id', colocate_with => 'none',"
    " shard_count => 32)",
    "SELECT create_distributed_table('dialogmessage', 'dialog_id', colocate_with => 'dialog')",
    "SELECT create_distributed_table('dialogoutbox', 'dialog_id', colocate_with => 'dialog')",
    "SELECT create_distributed_function('dialog_send(bigint, integer, text, text, boolean)',"
    " 'p_dialog_id', colocate_with => 'dialog')",
    "SELECT create_distributed_function('dialog_read(bigint, integer, bigint)',"
    " 'p_dialog_id', colocate_with => 'dialog')",
)
OF_SHARDS = "SELECT result::bigint AS n FROM run_command_on_shards('dialog', $$SELECT {} FROM %s$$)"


def of_before(cluster: Cluster) -> None:
    """The tables of then, spread over two workers."""
    before.migrate(cluster.url, queries.DIALOGS)
    spread(cluster)


def spread(cluster: Cluster) -> None:
    """As it was done then."""
    for worker in cluster.workers[:2]:
        cluster.shards("add", worker)
    for statement in INIT:
        cluster.ask(statement)


def rows_of_shards(cluster: Cluster) -> list[int]:
    """How many dialogs each shard has, the fullest first."""
    found = cluster.ask(OF_SHARDS.format("count(*)"))
    return sorted((row["n"] for row in found), reverse=True)


def test_they_are_what_they_were_and_go_on(
    empty: Cluster, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    of_before(empty)
    before.say(empty.url)
    seen = before.look(empty.url)
    assert len(seen.events) > 3
    applied = before.migrate(empty.url, queries.DIALOGS, dialogs=REFUSING["postgres"])
    assert applied
    assert before.look(empty.url) == seen

    async def work(one: Process) -> None:
        assert await one.is_refused("dialog_send", pair(1, 2), 1, "late", None, False)
        assert await one.is_refused("dialog_read", pair(1, 2), 2, END)

    with before.process(empty.url) as (runner, one):
        runner.run(work(one))
    # On a cluster no messages share a statement.
    assert before.upgrade_dialogs(empty.url)
    assert sorted(after.events(empty.url)) == sorted(seen.events)
    after.refuses_the_old(empty.url)
    status = empty.shards("status")
    for line in (
        *(f"{table}: 32 shards" for table in ("dialog", "message", "messageoutbox")),
        *(f"{name}() runs where its dialog is" for name in ("message_send", "message_read")),
    ):
        assert line in status
    assert "already" in empty.shards("init")
    main = new_database(postgres_server, TEMPLATE)
    before.add_users(main)
    with Api(main, redis_server.url, DIALOGS_DATABASE_URL=empty.url) as api:
        users = after.people(api)
        after.shows_the_same(users, seen)
        after.goes_on(users, seen)
        for user in users.values():
            user.close()
    # The new tables grow as those of before did.
    empty.shards("add", empty.workers[2])
    empty.shards("rebalance")
    assert len(empty.spread()) == 3
    after.refuses_the_old(empty.url)


def test_processes_are_rolled_and_nothing_is_lost(
    empty: Cluster, postgres_server: PostgresServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    main = new_database(postgres_server)
    urls = (main, empty.url, redis_server.url)
    roll(tmp_path, *urls, "rolled-on-citus", spread=lambda: spread(empty))


def test_dialogs_of_neighbours_are_spread(empty: Cluster) -> None:
    of_before(empty)
    empty.ask(
        "INSERT INTO dialog (dialog_id, low_id, high_id, last_message_id)"
        " SELECT a::bigint << 32 | a + 1, a, a + 1, 2 FROM generate_series(1, $1) AS a",
        NEIGHBOURS,
    )
    empty.ask(
        "INSERT INTO dialogmessage (dialog_id, id, from_user_id, content, created_at)"
        " SELECT a::bigint << 32 | a + 1, n, a, 'Hi', now()"
        " FROM generate_series(1, $1) AS a, generate_series(1, 2) AS n",
        NEIGHBOURS,
    )
    # The bare pairs have 12 hashes, and half of them one of two.
    assert rows_of_shards(empty)[0] > NEIGHBOURS / 4
    before.upgrade_dialogs(empty.url)
    found = rows_of_shards(empty)
    assert sum(found) == NEIGHBOURS
    assert len(found) == 32
    mean = NEIGHBOURS / 32
    # Four standard deviations of a fair choice, which is what it comes to.
    assert found[0] < mean + 4 * mean**0.5
    assert found[-1] > mean - 4 * mean**0.5
    (count,) = empty.ask("SELECT count(*) AS n FROM message JOIN dialog USING (dialog_id)")
    assert count["n"] == 2 * NEIGHBOURS
    nodes = empty.ask(
        "SELECT nodeport, sum(result::bigint) AS n FROM run_command_on_shards("
        "'message', $$SELECT count(*) FROM %s$$) JOIN pg_dist_placement USING (shardid)"
        " JOIN pg_dist_node USING (groupid) GROUP BY 1"
    )
    assert len(nodes) == 2
    assert max(row["n"] for row in nodes) < 1.2 * NEIGHBOURS


def test_where_nothing_is_spread_yet_it_is_spread_afterwards(empty: Cluster) -> None:
    """The extension is there, and the dialogs are on the coordinator alone."""
    before.migrate(empty.url, queries.DIALOGS)
    before.say(empty.url)
    seen = before.look(empty.url)
    before.upgrade_dialogs(empty.url)
    assert sorted(after.events(empty.url)) == sorted(seen.events)
    for worker in empty.workers[:2]:
        empty.shards("add", worker)
    empty.shards("init")
    assert sorted(after.events(empty.url)) == sorted(seen.events)
    after.refuses_the_old(empty.url)
    assert sum(empty.spread()) == 32
