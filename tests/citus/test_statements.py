"""Every statement of a dialog is one task on one node, and a function runs there whole."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from hlfast.db import queries
from hlfast.dialogs.dialog_ids import dialog_id
from tests.citus.clusters import Cluster, run

STATEMENTS = queries.load("postgres", queries.DIALOGS)
DIALOG = dialog_id(7, 9)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "dialog_send": (DIALOG, 7, 9, "Hi", "one", True),
    "dialog_read": (DIALOG, 9, 1),
    "dialog_versions": ([DIALOG],),
    "dialog_page_before": (DIALOG, 2**53, 20),
    "dialog_page_after": (DIALOG, 0, 20),
    "dialog_list": (7, 2**53, 2**53, 20),
    "messageoutbox_delete": ([DIALOG, DIALOG], [1, 2]),
    "messageoutbox_up_to": (DIALOG, 2, 100),
    "messageoutbox_left": (0.0, 100),
}
# My dialogs and what a dead process left may be anywhere.
EVERYWHERE = {"dialog_list", "messageoutbox_left"}
# More than PostgreSQL takes to turn to a plan without the arguments.
TIMES = 8


def citus_parts(plan: Any) -> list[dict[str, Any]]:
    """Every step of Citus in a plan of the coordinator."""
    if isinstance(plan, list):
        return [part for one in plan for part in citus_parts(one)]
    if not isinstance(plan, dict):
        return []
    found = [plan["Distributed Query"]] if "Distributed Query" in plan else []
    inside = {name: value for name, value in plan.items() if name != "Distributed Query"}
    return found + [part for value in inside.values() for part in citus_parts(value)]


def explained(cluster: Cluster, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """What Citus does, after the statement was executed often."""

    async def work(connection: asyncpg.Connection) -> Any:
        for _ in range(TIMES):
            await connection.fetch(STATEMENTS[name], *arguments)
        text = f"EXPLAIN (VERBOSE, FORMAT JSON) {STATEMENTS[name]}"
        # Prepared and executed as the service does it.
        for _ in range(TIMES):
            found = await connection.fetchval(text, *arguments)
        return found

    (part,) = citus_parts(json.loads(run(cluster.url, work)))
    return part


def test_every_statement_is_known_here() -> None:
    # What is not for a cluster, and how that is found out.
    others = {"ping", "dialog_send_many", "dialogs_are_sharded"}
    # What is put right, now and then, from the coordinator.
    others.add("dialog_heal")
    # What is asked of each node by itself: test_worker_away.py.
    others |= {"dialog_nodes", "dialog_list_of_living", "messageoutbox_left_of_living"}
    assert set(STATEMENTS) - others == set(ARGUMENTS)


@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - EVERYWHERE))
def test_it_is_one_task_without_subplans(dialogs: Cluster, name: str) -> None:
    part = explained(dialogs, name, ARGUMENTS[name])
    assert part["Job"]["Task Count"] == 1
    assert "Subplans" not in part


@pytest.mark.parametrize(
    ("name", "function"), [("dialog_send", "message_send"), ("dialog_read", "message_read")]
)
def test_a_function_runs_whole_where_its_dialog_is(
    dialogs: Cluster, name: str, function: str
) -> None:
    part = explained(dialogs, name, ARGUMENTS[name])
    (task,) = part["Job"]["Tasks"]
    assert f"{function}('{DIALOG}'" in task["Query"]
    (home,) = dialogs.ask(
        "SELECT nodename, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid) "
        "WHERE shardid = get_shard_id_for_distribution_column('dialog', $1::bigint)",
        DIALOG,
    )
    assert task["Node"].startswith(f"host={home['nodename']} port={home['nodeport']} ")
    # Inside there are the function itself and no statements sent elsewhere.
    assert task["Remote Plan"][0][0]["Plan"]["Node Type"] == "Function Scan"


def test_the_lists_ask_each_shard_once_for_a_page(dialogs: Cluster) -> None:
    part = explained(dialogs, "messageoutbox_left", ARGUMENTS["messageoutbox_left"])
    assert part["Job"]["Task Count"] == 32
    assert "Subplans" not in part
    part = explained_all(dialogs, "dialog_list", ARGUMENTS["dialog_list"])
    # One half for each index, and their merge.
    assert sorted(one["Job"]["Task Count"] for one in part) == [1, 32, 32]


def explained_all(cluster: Cluster, name: str, arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every step of Citus, subplans too."""

    async def work(connection: asyncpg.Connection) -> Any:
        return await connection.fetchval(f"EXPLAIN (FORMAT JSON) {STATEMENTS[name]}", *arguments)

    found = []
    waiting = citus_parts(json.loads(run(cluster.url, work)))
    while waiting:
        part = waiting.pop()
        found.append(part)
        waiting += citus_parts(part.get("Subplans", []))
    return found


def test_rows_of_many_dialogs_are_deleted_at_once(dialogs: Cluster) -> None:
    others = range(1, 30)
    pairs = [(dialog_id(one, 100), 1) for one in others]

    async def work(connection: asyncpg.Connection) -> Any:
        for (dialog, _), one in zip(pairs, others, strict=True):
            for text in ("Hi", "Ho"):
                arguments = (dialog, 100, one, text, None, True)
                await connection.fetch(STATEMENTS["dialog_send"], *arguments)
        keys, ids = [list(column) for column in zip(*pairs, strict=True)]
        gone = await connection.fetch(STATEMENTS["messageoutbox_delete"], keys, ids)
        left = await connection.fetch(STATEMENTS["messageoutbox_left"], 0.0, 1000)
        return gone, {(row["dialog_id"], row["event_id"]) for row in left}

    gone, left = run(dialogs.url, work)
    assert len(gone) == len(pairs)
    assert not set(pairs) & left
    assert {(dialog, 2) for dialog, _ in pairs} <= left
