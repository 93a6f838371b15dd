"""A worker that does not come back, a rebalance that does not end: each command leads on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from hl_utils.servers.process import ROOT, wait_until
from hl_utils.shards.command import LOCK
from hlfast.dialogs.dialog_ids import dialog_id, peer
from tests.citus.clusters import Cluster, ask, at, away, run
from tests.citus.test_shards import contents, say

PEERS = 60
CONTENTS = "SELECT dialog_id, id, content FROM message ORDER BY 1, 2"


def spread_out(cluster: Cluster, workers: int, shards: int) -> None:
    """A message in each of many dialogs, over so many workers; few shards are quick to move."""
    for worker in cluster.workers[:workers]:
        cluster.shards("add", worker)
    cluster.shards("init")
    cluster.shards("count", str(shards))
    run(cluster.url, _fill)


async def _fill(connection: asyncpg.Connection) -> None:
    for one in range(1, PEERS + 1):
        dialog = dialog_id(one, 1000)
        await connection.fetch(
            "SELECT FROM message_send($1, 1000, $2, 'Hi', NULL, true)", dialog, one
        )


def on_it(cluster: Cluster, url: str) -> list[tuple[int, int, str]]:
    """The messages of one worker alone, from its own shards."""
    shards = ask(
        url,
        "SELECT shard_name(logicalrelid, shardid) AS name FROM pg_dist_shard "
        "JOIN pg_dist_placement USING (shardid) WHERE logicalrelid = 'message'::regclass "
        "AND groupid = (SELECT groupid FROM pg_dist_local_group)",
    )
    assert at(url) in cluster.workers
    parts = " UNION ALL ".join(
        f"SELECT dialog_id, id, content FROM {row['name']}" for row in shards
    )
    return [tuple(row) for row in ask(url, f"{parts} ORDER BY 1, 2")]


def test_every_command_says_what_leads_on(empty: Cluster) -> None:
    spread_out(empty, 2, 4)
    lost, other, _ = empty.workers
    with away(empty.urls[1]):
        status = empty.shards("status")
        assert f"{lost} does not answer: its dialogs wait" in status
        assert status.count("does not answer") == 2
        for command in (
            ("drain", lost),
            ("drain", other),
            ("remove", lost),
            ("rebalance",),
            ("count", "8"),
            ("count", "3"),
            ("undistribute",),
            ("add", empty.workers[2]),
        ):
            said = empty.refused(*command)
            assert f"{lost} does not answer" in said, command
            assert f"hlfast shards forget {lost}" in said, command
        assert f"hlfast shards drain {other}" in empty.refused("forget", other)
        findings = json.loads(empty.hlfast("check", "--json").stdout)
        (found,) = [one for one in findings if one["code"] == "node-away"]
        assert f"{lost}, with 2 of 4 shards, does not answer" in found["what"]
        assert found["level"] == "error"
    assert f"hlfast shards drain {lost}" in empty.refused("forget", lost, "--yes")
    assert "still holds 2 shards" in empty.refused("remove", lost)
    # Nor are triggers missing, of which no table that is spread has any.
    findings = json.loads(empty.hlfast("check", "--json").stdout)
    assert not {one["code"] for one in findings} & {"node-away", "index-missing", "trigger-missing"}
    assert "does not answer" not in empty.shards("status")


def test_an_empty_worker_leaves_though_it_is_disabled_or_gone(empty: Cluster) -> None:
    spread_out(empty, 3, 4)
    before = contents(empty)
    first, second, third = empty.workers
    for worker in (second, third):
        empty.shards("drain", worker)
    host, _, port = third.rpartition(":")
    empty.ask("SELECT citus_disable_node($1, $2, synchronous => true)", host, int(port))
    assert "disabled" in empty.shards("status")
    with away(empty.urls[2]), away(empty.urls[3]):
        for worker in (second, third):
            assert "done" in empty.shards("remove", worker)
    assert second not in empty.shards("status")
    assert contents(empty) == before
    # One that has shards is not removed so.
    with away(empty.urls[1]):
        assert f"hlfast shards forget {first}" in empty.refused("remove", first)


def test_a_lost_worker_is_forgotten_with_what_was_only_there(empty: Cluster) -> None:
    spread_out(empty, 2, 4)
    lost = empty.workers[0]
    gone = {row[0] for row in on_it(empty, empty.urls[1])}
    before = contents(empty)
    kept = [row for row in before if row[0] not in gone]
    assert kept
    assert gone
    with away(empty.urls[1]):
        asked = empty.hlfast("shards", "forget", lost)
        assert asked.returncode == 1
        assert f"LOST: 2 of 4 shards were only on {lost}: about 50 % of all dialogs" in asked.stdout
        assert "repeat it with --yes" in asked.stderr
        shown = empty.shards("forget", lost, "--dry-run")
        assert "LOST: 2 of 4" in shown
        assert "UPDATE pg_dist_placement" in shown
        assert empty.spread() == [2, 2]
        assert "done" in empty.shards("forget", lost, "--yes")
        assert empty.spread() == [4]
        assert contents(empty) == kept
        assert lost not in empty.shards("status")
        # All nodes know it, and dialogs begin anew where they were lost.
        assert [tuple(row) for row in ask(empty.urls[2], CONTENTS)] == kept
        assert say(empty, peer(min(gone), 1000), "anew") == 1
        assert say(empty, peer(kept[0][0], 1000), "on") == 2
        # The cluster grows and moves as any other does.
        empty.shards("add", empty.workers[2])
        empty.shards("rebalance")
        assert empty.spread() == [2, 2]
        assert len(contents(empty)) == len(kept) + 2


def test_two_are_forgotten_together_and_then_the_last(empty: Cluster) -> None:
    spread_out(empty, 3, 6)
    first, second, third = empty.workers
    with away(empty.urls[1]), away(empty.urls[2]):
        said = empty.refused("forget", first, "--yes")
        assert f"{second} does not answer either" in said
        assert f"hlfast shards forget {first} {second}" in said
        kept = on_it(empty, empty.urls[3])
        empty.shards("forget", first, second, "--yes")
        assert empty.spread() == [6]
        assert contents(empty) == kept
        with away(empty.urls[3]):
            assert "LOST: 6 of 6 shards" in empty.shards("forget", third, "--yes")
        # Nobody else is there: the coordinator takes them.
        assert empty.spread() == [6]
        assert contents(empty) == []
        assert say(empty, 1, "anew") == 1


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("dialog_list_of_living($1, $2, $3, $4, $5)", (1000, 2**53, 2**53, PEERS)),
        ("messageoutbox_left_of_living($1, $2, $3)", (0.0, PEERS)),
    ],
)
def test_what_is_read_from_the_others(
    empty: Cluster, statement: str, arguments: tuple[float, ...]
) -> None:
    spread_out(empty, 2, 4)
    first, second, _ = empty.workers
    here = [{row[0] for row in on_it(empty, url)} for url in empty.urls[1:3]]
    assert all(here)

    def found(*known: str) -> list[int | None]:
        rows = empty.ask(f"SELECT dialog_id FROM {statement}", known, *arguments)
        return [row[0] for row in rows]

    # A row of nulls for each node that is missing. Who is known to be away is not asked.
    assert sorted(found()) == sorted(here[0] | here[1])
    assert set(found(first)) == here[1] | {None}
    with away(empty.urls[1]):
        assert set(found()) == here[1] | {None}
        assert set(found(first)) == here[1] | {None}
        with pytest.raises(asyncpg.PostgresConnectionError, match="no node of the dialogs answers"):
            found(second)
    with pytest.raises(asyncpg.PostgresConnectionError, match="no node of the dialogs answers"):
        found(first, second)


@contextmanager
def started(cluster: Cluster, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """An `hlfast shards` command under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hl_utils", "shards", *argv],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "120", "DATABASE_URL": cluster.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[str], begun: Callable[[], object]) -> str:
    """What it says at Ctrl-C, once it is in the middle of it."""
    wait_until(begun, "the command does not get there")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.endswith("hlfast shards: stopped\n")
    return errors


def asks(cluster: Cluster, part: str) -> bool:
    """Whether another session's statement has this in it."""
    return bool(
        cluster.ask(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
            "AND query LIKE '%' || $1 || '%'",
            part,
        )
    )


def test_a_rebalance_that_gets_nowhere_is_said_and_stopped(empty: Cluster) -> None:
    first, second, _ = empty.workers
    spread_out(empty, 1, 4)
    before = contents(empty)
    empty.shards("add", second)
    host, _, port = second.rpartition(":")
    empty.ask("SELECT citus_rebalance_start(shard_transfer_mode => 'block_writes')")
    # By hand, after the moves were planned: Citus tries each of them again, for hours.
    takes = "SELECT citus_set_node_property($1, $2, 'shouldhaveshards', $3)"
    empty.ask(takes, host, int(port), False)
    tried_again = "SELECT FROM pg_dist_background_task WHERE retry_count > 0"
    with started(empty, "rebalance") as process:
        # Seconds after the command began to look; its own look at this is too short to be seen.
        said = interrupted(process, lambda: empty.ask(tried_again))
        assert "the rebalance goes on by itself" in said
        assert "hlfast shards stop" in said
    assert "hlfast shards stop" in empty.refused("drain", first)
    assert "hlfast shards stop" in empty.refused("count", "8")
    assert "hlfast shards stop" in empty.refused("forget", first)
    followed = empty.hlfast("shards", "rebalance")
    assert followed.returncode == 1
    assert "note: a move failed and is tried again: ERROR: Moving shards to a" in followed.stdout
    said = followed.stderr
    assert "does not get on: ERROR: Moving shards to a node that shouldn't have a shard" in said
    assert "hlfast shards stop" in said
    assert "SELECT citus_rebalance_stop()" in empty.shards("stop", "--dry-run")
    assert "the rest: hlfast shards rebalance" in empty.shards("stop")
    assert empty.shards("stop") == "no rebalance is running\n"
    assert "newest rebalance: cancelled" in empty.shards("status")
    empty.shards("add", second)
    empty.shards("rebalance")
    assert empty.spread() == [2, 2]
    assert contents(empty) == before


def test_a_move_under_way_is_undone_by_stop(empty: Cluster) -> None:
    spread_out(empty, 1, 4)
    before = contents(empty)
    empty.shards("add", empty.workers[1])
    with writing(empty):
        empty.ask("SELECT citus_rebalance_start(shard_transfer_mode => 'block_writes')")
        moving = "SELECT FROM pg_dist_background_task WHERE status = 'running'"
        wait_until(lambda: empty.ask(moving), "no move begins")
        assert "done" in empty.shards("stop")
        assert empty.shards("stop") == "no rebalance is running\n"
        assert empty.spread() == [4]
    assert contents(empty) == before
    empty.shards("rebalance")
    assert empty.spread() == [2, 2]
    assert contents(empty) == before


@contextmanager
def writing(cluster: Cluster) -> Iterator[None]:
    """Somebody who has written to every dialog and does not commit: a move waits for that."""
    command = ["psql", "-q", "-d", cluster.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        writer.stdin.write("BEGIN;\nUPDATE dialog SET low_read = low_read;\n")
        writer.stdin.flush()
        held = (
            "SELECT FROM pg_stat_activity WHERE state = 'idle in transaction' "
            "AND query LIKE 'UPDATE dialog %' AND datname = current_database()"
        )
        wait_until(lambda: cluster.ask(held), "nobody writes")
        try:
            yield
        finally:
            writer.stdin.close()


def test_ctrl_c_in_one_transaction_changes_nothing(empty: Cluster) -> None:
    spread_out(empty, 2, 4)
    before = contents(empty)

    # It has to wait for whoever reads.
    reading = ["psql", "-q", "-d", empty.url]
    with subprocess.Popen(reading, stdin=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        reader.stdin.write("BEGIN;\nLOCK TABLE dialog IN ACCESS SHARE MODE;\n")
        reader.stdin.flush()
        wait_until(lambda: asks(empty, "LOCK TABLE dialog"), "nobody reads")
        with started(empty, "count", "3") as process:
            said = interrupted(process, lambda: asks(empty, "LOCK TABLE dialog, messageoutbox"))
            assert "nothing was changed" in said
        reader.stdin.close()
    assert empty.spread() == [2, 2]
    assert contents(empty) == before


@pytest.mark.parametrize("verb", ["rebalance", "add"])
def test_whoever_waits_for_another_command_says_so(empty: Cluster, verb: str) -> None:
    spread_out(empty, 1, 2)

    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        argv = (verb, empty.workers[0])[: 1 + (verb == "add")]
        with started(empty, *argv) as process:
            assert process.stdout is not None
            assert "another `hlfast shards`" in process.stdout.readline()
            await connection.execute("SELECT pg_advisory_unlock_all()")
            assert "already" in process.communicate(timeout=60)[0]

    run(empty.url, work)
