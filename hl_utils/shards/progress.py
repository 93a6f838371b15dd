"""Steps as they are taken, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from asyncpg import InternalServerError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from hl_utils.shards.cluster import ENDED, Address, Cluster, ShardsError, first_line
from hl_utils.shards.steps import Move, Step

_LOOK_S = 0.5
# For the move under way to be undone.
_STOPPED_IN_S = 60.0
# One that waits for a lock, say, is through by then.
_RETRIED_MAX = 2
_NAME = TextColumn("{task.description}")


async def run(cluster: Cluster, steps: Sequence[Step], console: Console) -> None:
    """Take every step. Raises asyncpg.PostgresError."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _NAME)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(steps))
        for step in steps:
            bar.update(task, description=step.says)
            await cluster.change(step.statement, *step.args)
            bar.advance(task)
        bar.update(task, description=steps[-1].says if steps else "")


async def follow(cluster: Cluster, moves: Sequence[Move], console: Console) -> None:
    """Watch the newest rebalance to its end. Raises ShardsError if it failed."""
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn(), _NAME)
    size = sum(move.bytes for move in moves)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("moving shards", total=size or None)
        said = ""
        while True:
            said = await _say_what_fails(cluster, said, console)
            (newest,) = await cluster.look("rebalance")
            arrived = await _arrived(cluster, moves)
            bar.update(task, completed=min(arrived, size), description=counts(newest).lstrip(", "))
            if newest["state"] in ENDED:
                break
            await asyncio.sleep(_LOOK_S)
    if newest["state"] != "finished":
        reason = _trouble(newest) or "Citus says no more"
        raise ShardsError(f"the rebalance {newest['state']}: {reason}; it may be repeated")


async def until_stopped(cluster: Cluster) -> None:
    """Wait for the move under way to be undone. Raises ShardsError if that takes too long."""
    deadline = time.monotonic() + _STOPPED_IN_S
    while True:
        (newest,) = await cluster.look("rebalance")
        if newest["state"] in ENDED:
            return
        if time.monotonic() > deadline:
            raise ShardsError(
                f"the rebalance is still {newest['state']}{counts(newest)}: "
                "`hlfast shards status` says when it has ended"
            )
        await asyncio.sleep(_LOOK_S)


async def _say_what_fails(cluster: Cluster, said: str, console: Console) -> str:
    """What a move failed with, said once: Citus tries on, for hours.

    Raises ShardsError where it was tried so often that it needs a hand.
    """
    for row in await cluster.look("retried"):
        trouble = first_line(row["message"] or "Citus says no more")
        if row["retried"] >= _RETRIED_MAX:
            raise ShardsError(
                f"the rebalance does not get on: {trouble}; it is tried again by itself: mend "
                "that, or end it with `hlfast shards stop`"
            )
        if trouble != said:
            console.print(f"note: a move failed and is tried again: {trouble}", markup=False)
        said = trouble
    return said


async def _arrived(cluster: Cluster, moves: Sequence[Move]) -> int:
    """Bytes that are where they should be, or copied there so far."""
    placements = {
        (row["id"], Address(row["host"], row["port"]))
        for row in await cluster.look("placements", [move.id for move in moves])
    }
    copied = {row["id"]: row["bytes"] or 0 for row in await under_way(cluster)}
    return sum(
        move.bytes
        if (move.id, move.target) in placements
        else min(copied.get(move.id, 0), move.bytes)
        for move in moves
    )


async def under_way(cluster: Cluster) -> Sequence[Mapping[str, Any]]:
    """The shards that are being copied: id, bytes, status; none where Citus cannot say."""
    try:
        return await cluster.look("under_way")
    except InternalServerError:
        # It asked for the size of a shard that has just been moved away, or of another database's.
        return ()


def counts(rebalance: Mapping[str, Any]) -> str:
    """`, 3 done, 1 running …`, of its moves, and what one of them failed with."""
    states = json.loads(rebalance["details"] or "{}").get("task_state_counts") or {}
    trouble = _trouble(rebalance)
    return "".join(f", {number} {state}" for state, number in states.items()) + (
        f", tried again after: {trouble}" if trouble else ""
    )


def _trouble(rebalance: Mapping[str, Any]) -> str:
    """What a move failed with that is not done yet, empty if none did."""
    tasks = json.loads(rebalance["details"] or "{}").get("tasks") or []
    messages = [first_line(task["message"]) for task in tasks if task.get("message")]
    return messages[0] if messages else ""
