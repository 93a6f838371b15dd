"""`hlfast shards` from an empty server to a grown and shrunk cluster, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from hl_utils.servers.process import ROOT
from hl_utils.shards.cluster import ShardsError, check_node
from hl_utils.shards.distribution import splits
from hlfast.dialogs.dialog_ids import dialog_id
from tests.citus.clusters import Cluster, ask, execute
from tests.citus.conftest import distribute

MANUAL = (ROOT / "citus" / "README.md").read_text(encoding="utf-8")
PAIRS = 200
CONTENTS = "SELECT dialog_id, id, content FROM message ORDER BY 1, 2"


def fill(cluster: Cluster) -> list[tuple[int, int, str]]:
    """Three messages in each of many dialogs."""
    for number in range(3):
        for one in range(1, PAIRS + 1):
            say(cluster, one, f"{one}-{number}")
    return contents(cluster)


def say(cluster: Cluster, one: int, text: str) -> int:
    """User 1000 writes to another one; the message's id."""
    sent = "SELECT * FROM message_send($1, 1000, $2, $3, NULL, true)"
    (row,) = cluster.ask(sent, dialog_id(one, 1000), one, text)
    assert row["outcome"] == "sent"
    return int(row["id"])


def contents(cluster: Cluster) -> list[tuple[int, int, str]]:
    return [tuple(row) for row in cluster.ask(CONTENTS)]


def test_from_one_server_to_three_and_back(empty: Cluster) -> None:
    first, second, _ = empty.workers
    assert "run `hlfast tables` first" in empty.refused("init", "--dry-run")
    assert empty.ask("SELECT to_regclass('dialog') AS found")[0]["found"] is None

    # Alone, the coordinator takes the shards; rows that are there already go into them.
    assert empty.hlfast("tables").returncode == 0
    before = fill(empty)
    assert "create_distributed_table('dialog'" in empty.shards("init", "--dry-run")
    assert empty.ask("SELECT count(*) AS n FROM pg_dist_shard")[0]["n"] == 0
    assert "done" in empty.shards("init")
    assert empty.shards("init") == "dialogs are distributed already\n"
    assert contents(empty) == before
    assert empty.spread() == [32]
    assert empty.shards("count", "6").count("writes to dialogs wait") == 1
    assert empty.spread() == [6]
    assert "in the cluster" not in empty.shards("add", first)
    assert "is in the cluster already" in empty.shards("add", first)
    assert "drain" not in empty.shards("add", second)

    plan = empty.shards("rebalance", "--dry-run")
    assert plan.count("-- move dialog ") == 4
    assert "SELECT citus_rebalance_start(" in plan
    assert empty.spread() == [6]
    assert "done" in empty.shards("rebalance")
    assert empty.spread() == [2, 2, 2]
    assert "evenly already" in empty.shards("rebalance")
    assert contents(empty) == before

    assert "still holds" in empty.refused("remove", second)
    assert f"-> {second}" not in empty.shards("drain", second, "--dry-run")
    empty.shards("drain", second)
    assert "no shards already" in empty.shards("drain", second)
    assert empty.spread() == [3, 3]
    empty.shards("remove", second)
    assert "is not in the cluster" in empty.shards("remove", second)
    assert contents(empty) == before

    empty.shards("undistribute")
    assert empty.shards("undistribute") == "nothing is distributed\n"
    assert contents(empty) == before
    # Ids go on where they were, on one server and on many again.
    assert say(empty, 1, "once more") == 4
    empty.shards("init")
    assert say(empty, 1, "and again") == 5
    assert "message_send() runs where its dialog is" in empty.shards("status")


def test_more_shards_by_splitting_and_fewer_by_rewriting(empty: Cluster) -> None:
    distribute(empty)
    empty.shards("count", "2")
    before = fill(empty)
    shown = empty.shards("count", "4", "--dry-run")
    assert shown.count("citus_split_shard_by_split_points") == 2
    assert empty.spread() == [1, 1]
    empty.shards("count", "4")
    assert empty.spread() == [2, 2]
    widths = empty.ask(
        "SELECT shardmaxvalue::bigint - shardminvalue::bigint + 1 AS w FROM pg_dist_shard "
        "WHERE logicalrelid = 'dialog'::regclass"
    )
    assert {row["w"] for row in widths} == {2**30}
    assert "there are 4 shards already" in empty.shards("count", "4")
    assert contents(empty) == before
    shown = empty.shards("count", "3", "--dry-run")
    assert "alter_distributed_table" in shown
    assert "writes to dialogs wait" in shown
    empty.shards("count", "3")
    assert contents(empty) == before
    status = empty.shards("status")
    assert "dialog: 3 shards" in status
    assert status.count("runs where its dialog is") == 2


def test_a_split_that_was_cut_short_is_taken_up() -> None:
    half = 2**31
    whole = [
        {"id": 1, "low": -half, "high": -1, "node_id": 1},
        {"id": 2, "low": 0, "high": half - 1, "node_id": 2},
    ]
    assert [step.args for step in splits(whole, 4, [1, 2])] == [
        (1, [str(-half // 2 - 1)], [2, 2], "force_logical"),
        (2, [str(half // 2 - 1)], [1, 1], "force_logical"),
    ]
    begun = [
        {"id": 3, "low": -half, "high": -half // 2 - 1, "node_id": 1},
        {"id": 4, "low": -half // 2, "high": -1, "node_id": 1},
        whole[1],
    ]
    assert [step.args[0] for step in splits(begun, 4, [1, 2])] == [2]
    # Alone, a node keeps its parts, and writes wait.
    assert splits(whole[:1], 2, [1]) == []
    assert splits([{"id": 1, "low": -half, "high": half - 1, "node_id": 1}], 2, [1])[0].args == (
        *(1, ["-1"], [1, 1]),
        "block_writes",
    )
    assert splits(whole, 3, [1, 2]) == []
    assert splits(whole, 1, [1, 2]) == []


def test_tables_and_init_may_run_at_once_and_again(empty: Cluster) -> None:
    for worker in empty.workers[:2]:
        empty.shards("add", worker)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: empty.hlfast("shards", "init"), range(4)))
    assert [run.returncode for run in runs] == [0] * 4, [run.stderr for run in runs]
    assert sum("done in" in run.stdout for run in runs) == 1
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: empty.hlfast("tables"), range(4)))
    assert [run.returncode for run in runs] == [0] * 4, [run.stderr for run in runs]
    assert empty.hlfast("tables").stdout == "the tables are up to date\n"
    assert "dialog: 32 shards" in empty.shards("status")


def test_user_on_every_node_makes_a_registration_need_them_all(empty: Cluster) -> None:
    assert empty.hlfast("tables").returncode == 0
    distribute(empty)
    assert '"user"' not in empty.shards("status")
    assert "needs all of them alive" in empty.shards("init", "--reference-user")
    assert "user: on every node" in empty.shards("status")
    # The same registration goes to each worker.
    empty.ask(
        'INSERT INTO "user" (username, username_key, password_hash, first_name, last_name, '
        "first_key, last_key) VALUES ('Ada', 'ada', '-', 'A', 'B', 'a', 'b') RETURNING id"
    )
    counts = empty.ask(
        """SELECT result FROM run_command_on_workers('SELECT count(*) FROM "user"')"""
    )
    assert [row["result"] for row in counts] == ["1", "1"]
    empty.shards("undistribute")
    assert [row["username"] for row in empty.ask('SELECT username FROM "user"')] == ["Ada"]


def test_what_is_missing_is_one_line(empty: Cluster) -> None:
    first, second, third = empty.workers
    assert "run `hlfast shards init` first" in empty.refused("rebalance")
    assert "run `hlfast shards init` first" in empty.refused("count", "64")
    assert "127.0.0.1:1" in empty.refused("add", "127.0.0.1:1")
    distribute(empty)
    empty.shards("count", "2")  # few to move
    assert "not in the cluster, which has" in empty.refused("drain", third)
    assert "number of shards" in empty.refused("count", "0")
    assert "is the coordinator" in empty.refused("remove", _coordinator(empty))
    empty.shards("drain", first)
    assert "no other node takes shards" in empty.refused("drain", second)
    ask(empty.urls[0], "ALTER TABLE messageoutbox DROP CONSTRAINT messageoutbox_pkey")
    assert "messageoutbox needs a primary key" in empty.refused("count", "64")
    worker = Cluster(empty.urls[1:])
    assert "this node is a worker" in worker.refused("status")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wal_level", "replica"),
        ("max_worker_processes", 6),
        ("max_replication_slots", 2),
        ("max_wal_senders", 2),
    ],
)
def test_a_node_that_shards_cannot_be_moved_to_says_why(name: str, value: object) -> None:
    fit = {
        "wal_level": "logical",
        "max_worker_processes": 16,
        "workers_running": 3,
        "max_replication_slots": 10,
        "max_wal_senders": 10,
        "output_plugin_libraries": "pgoutput, test_decoding, citus",
    }
    check_node("a:1", fit, split=True)
    check_node("a:1", fit | {"output_plugin_libraries": None}, split=True)
    with pytest.raises(ShardsError, match="a list without citus"):
        check_node("a:1", fit | {"output_plugin_libraries": "pgoutput"}, split=True)
    check_node("a:1", fit | {"output_plugin_libraries": "pgoutput"})
    check_node("a:1", fit | {"output_plugin_libraries": '"pgoutput" ,citus'}, split=True)
    with pytest.raises(ShardsError, match="a list without pgoutput"):
        check_node("a:1", fit | {"output_plugin_libraries": '"pgoutput, test_decoding, citus"'})
    with pytest.raises(ShardsError, match=f"a:1 has {name} = {value}.* restart it"):
        check_node("a:1", fit | {name: value})


def test_libraries_that_postgresql_reads_as_one_name_are_refused(empty: Cluster) -> None:
    name, libraries = "output_plugin_libraries", "pgoutput, test_decoding, citus"
    if not empty.ask("SELECT FROM pg_settings WHERE name = $1", name):
        pytest.skip(f"NOT TESTED: {name}. These servers are older than it: any library may be used")
    assert f"`ALTER SYSTEM SET {name} = {libraries}`" in MANUAL
    database = urlsplit(empty.url).path[1:]
    for url in empty.urls[:3]:
        # Before it joins, when this would be handed on.
        execute(url, f"ALTER DATABASE {database} SET {name} = '{libraries}'")
    distribute(empty)
    empty.shards("count", "2")
    for command in (("drain", empty.workers[0]), ("count", "4")):
        said = empty.refused(*command)
        assert f'{name} = "{libraries}", a list without ' in said
        assert f"ALTER SYSTEM SET {name} = {libraries} (" in said
    # As it says, for this database alone.
    for url in empty.urls[:3]:
        alone = f"SET citus.enable_ddl_propagation = off; ALTER DATABASE {database}"
        execute(url, f"{alone} SET {name} = {libraries}")
        ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
    empty.shards("count", "4")
    assert empty.spread() == [2, 2]


def _coordinator(cluster: Cluster) -> str:
    (row,) = cluster.ask("SELECT nodename, nodeport FROM pg_dist_node WHERE groupid = 0")
    return f"{row['nodename']}:{row['nodeport']}"


def test_help_needs_no_server() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hl_utils", "shards", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    for verb in ("status", "init", "add", "rebalance", "drain", "remove", "count", "undistribute"):
        assert verb in done.stdout
