"""What each command would do, as steps of SQL; nothing here changes anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from hl_utils.shards.cluster import (
    CHANGE,
    FUNCTIONS,
    TABLES,
    Address,
    Cluster,
    Node,
    ShardsError,
)
from hlfast.db.hosts import LOOK_EVERY_S

SHARDS = 32
_SHARDS_MAX = 4096
_HASHES = 2**32
# Seen with two nodes on one machine of two cores; a guess anywhere else.
_REWRITTEN_BYTES_PER_S = 10_000_000
# Of the states of a rebalance: those that end it.
ENDED = ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of change.sql, and what it is for."""

    says: str
    statement: str
    args: tuple[Any, ...] = ()

    @property
    def sql(self) -> str:
        """The statement with its arguments in place, for reading."""

        def literal(match: re.Match[str]) -> str:
            return _literal(self.args[int(match[1]) - 1])

        return re.sub(r"\$(\d+)", literal, CHANGE[self.statement]) + ";"


# What tables are written anew after.
_ALONE = (Step("", "one_connection"), Step("wait for what is being written", "lock_dialogs"))


@dataclass(frozen=True, slots=True)
class Move:
    """A shard that a rebalance takes elsewhere."""

    id: int
    table: str
    bytes: int
    source: Address
    target: Address


@dataclass(frozen=True, slots=True)
class Operation:
    """Steps in their order; `atomic`: all or none. `done` is said where there are none."""

    done: str
    steps: Sequence[Step] = ()
    atomic: bool = False
    moves: Sequence[Move] = ()
    warnings: Sequence[str] = ()
    # A rebalance runs on by itself and is followed to its end; or to the one that was asked for.
    follow: bool = False
    until_stopped: bool = False
    # Messages may have to wait for it: how long is measured, and said.
    stalls: bool = False
    # Said at the end.
    hints: Sequence[str] = field(default=())
    # Afterwards it is waited for so long: until no process asks the node any more.
    settle_s: float = 0
    # What nobody should do by mistake needs a word of its own.
    needs_yes: bool = False


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(map(_literal, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


async def init(cluster: Cluster, coordinator: Address, *, reference_user: bool) -> Operation:
    """Distribute what is not yet. The tables must be there, and Citus."""
    steps: list[Step] = []
    tables = await cluster.tables()
    if missing := [name for name in TABLES if name not in tables]:
        raise ShardsError(f"there is no table {missing[0]}: run `hlfast tables` first")
    steps += await _coordinator(cluster, coordinator)
    nodes = await cluster.nodes()
    alone = not any(node.takes_shards and node.active for node in nodes)
    if alone and tables["dialog"].colocation_id is None:
        at = next((node.at for node in nodes if node.is_coordinator), coordinator)
        steps.append(
            Step("let the coordinator take shards", "take_shards", (at.host, at.port, True))
        )
    distribution = _distribution(tables["dialog"].colocation_id is None, [
        name for name in TABLES if tables[name].colocation_id is None
    ], [name for name in FUNCTIONS if name not in await cluster.delegated()])  # fmt: skip
    if not (await cluster.look("guard"))[0]["is_there"]:
        distribution.append(Step("guard them", "guard", (True,)))
    if distribution:
        steps += [*_ALONE, *distribution]
    if reference_user:
        user = tables.get("user")
        if user is None:
            raise ShardsError(
                '"user" is not in this database: a reference table of another one is impossible'
            )
        if user.colocation_id is None or not user.is_reference:
            steps += [
                Step('take the triggers of "user" away', "user_triggers", (False,)),
                Step('copy "user" to every node', "reference_user"),
            ]
    warnings = (
        ['with "user" on every node a registration needs all of them alive']
        if reference_user
        else []
    )
    return Operation(
        "dialogs are distributed already",
        steps,
        atomic=True,
        stalls=True,
        warnings=warnings,
        hints=[
            "next: hlfast shards add HOST, then hlfast shards rebalance; "
            "the coordinator itself may be drained, too"
        ]
        if alone
        else [],
    )


async def _coordinator(cluster: Cluster, at: Address) -> list[Step]:
    if (await cluster.look("coordinator"))[0]["has_address"]:
        return []
    return [Step("tell workers where the coordinator is", "set_coordinator", (at.host, at.port))]


def _distribution(anew: bool, tables: Sequence[str], functions: Sequence[str]) -> list[Step]:
    steps = []
    if anew:
        steps.append(Step(f"spread dialog over {SHARDS} shards", "distribute_dialog", (SHARDS,)))
    if "message" in tables:
        steps.append(Step("take the triggers of message away", "message_triggers", (False,)))
    steps += [
        Step(f"spread {name} beside it", "distribute_beside", (name,))
        for name in tables
        if name != "dialog"
    ]
    steps += [Step(f"free {name} here", "forget_local_rows", (name,)) for name in tables]
    return steps + _delegation(functions)


def _delegation(functions: Sequence[str]) -> list[Step]:
    return [
        Step(f"run {name} where its dialog is", "delegate", (FUNCTIONS[name],))
        for name in functions
    ]


async def add(cluster: Cluster, coordinator: Address, at: Address) -> Operation:
    """A server joins; it has PostgreSQL with Citus and a database of the same name."""
    await cluster.must_have_citus()
    node = await cluster.node(at)
    steps = await _coordinator(cluster, coordinator)
    if node is None:
        steps.append(Step(f"add {at}", "add_node", (at.host, at.port)))
    elif not node.active:
        steps.append(Step(f"activate {at}", "activate_node", (at.host, at.port)))
    if node is not None and not node.takes_shards:
        steps.append(Step(f"let {at} take shards", "take_shards", (at.host, at.port, True)))
    hints = ["next: hlfast shards rebalance"]
    return Operation(f"{at} is in the cluster already", steps, hints=hints)


async def rebalance(cluster: Cluster) -> Operation:
    """Even out the shards, or join the one that runs."""
    await cluster.must_be_distributed()
    running = await _running(cluster)
    if running:
        return Operation("", moves=await moves(cluster, drain=False), follow=True)
    await cluster.must_be_movable()
    planned = await moves(cluster, drain=False)
    if not planned:
        return Operation("shards are spread evenly already")
    step = Step(f"move {len(planned)} shards", "rebalance_start", (False,))
    return Operation("", [step], moves=planned, follow=True)


async def drain(cluster: Cluster, at: Address) -> Operation:
    """Take all shards from a node."""
    await cluster.must_be_distributed()
    node = await _known(cluster, at)
    await _must_be_quiet(cluster)
    steps: list[Step] = []
    planned: list[Move] = []
    if node.takes_shards:
        steps.append(Step(f"give {at} no new shards", "take_shards", (at.host, at.port, False)))
    if node.placements:
        others = [n for n in await cluster.nodes() if n.takes_shards and n.active and n != node]
        if not others:
            raise ShardsError(f"no other node takes shards: add one before {at} is drained")
        await cluster.must_be_movable()
        planned = await _moves_when_drained(cluster, at)
        steps.append(Step(f"move {node.held} away", "rebalance_start", (True,)))
    return Operation(
        f"{at} holds no shards already",
        steps,
        moves=planned,
        follow=node.placements > 0,
        hints=[] if node.is_coordinator else [f"next: hlfast shards remove {at}"],
    )


async def remove(cluster: Cluster, at: Address) -> Operation:
    """Take an empty node out of the cluster."""
    await cluster.must_have_citus()
    node = await cluster.node(at)
    if node is None:
        return Operation(f"{at} is not in the cluster")
    if node.is_coordinator:
        raise ShardsError(f"{at} is the coordinator")
    if node.placements:
        if at in await cluster.silent():
            await cluster.must_answer()
        raise ShardsError(f"{at} still holds {node.held}: run `hlfast shards drain {at}` first")
    step = Step(f"remove {at}", "remove_node", (at.host, at.port))
    # It goes on answering, from what it knew: until the hosts were looked at again.
    return Operation("", [step], settle_s=2 * LOOK_EVERY_S)


async def stop(cluster: Cluster) -> Operation:
    """End the rebalance that runs; what has been moved stays where it is."""
    await cluster.must_have_citus()
    if not await _running(cluster):
        return Operation("no rebalance is running")
    hints = ["shards that were moved stay where they are; the rest: hlfast shards rebalance"]
    hints += [
        f"{node.at} takes no shards: hlfast shards add {node.at} lets it, "
        f"hlfast shards drain {node.at} goes on"
        for node in await cluster.nodes()
        if not node.takes_shards and node.shards
    ]
    step = Step("end the rebalance", "rebalance_stop")
    return Operation("", [step], hints=hints, until_stopped=True)


async def forget(cluster: Cluster, ats: Sequence[Address]) -> Operation:
    """Go on without nodes that are lost for good: their shards begin anew, empty, on others."""
    total = await cluster.must_be_distributed()
    await _must_be_quiet(cluster)
    lost = [await _known(cluster, at) for at in dict.fromkeys(ats)]
    await _must_be_lost(cluster, lost)
    nodes = [node for node in await cluster.nodes() if node not in lost]
    takers = [node for node in nodes if node.takes_shards and node.active]
    steps = [Step("", "tell_nobody")]
    if not takers:
        takers = [node for node in nodes if node.is_coordinator]
        steps += [
            Step(f"let {node.at} take shards", "take_shards", (node.at.host, node.at.port, True))
            for node in takers
        ]
    homes = _new_homes(await cluster.look("only_there", [node.id for node in lost]), takers)
    if homes:
        what = f"put {len(homes)} empty tables on {len(set(homes.values()))} nodes"
        steps += [
            Step(what, "place_shards", (list(homes), list(homes.values()))),
            Step("make them", "make_shards", (list(homes),)),
        ]
    steps += [
        *(Step(f"remove {n.at}", "remove_node", (n.at.host, n.at.port)) for n in lost),
        Step("", "tell_workers"),
        Step("tell the other nodes", "sync_metadata"),
    ]
    gone = sum(node.shards for node in lost)
    # Of the lost ones nobody says it.
    size = sum(row["bytes"] or 0 for row in await cluster.look("node_bytes"))
    about = f", some {size * gone // (total - gone):,} bytes" if gone < total else ""
    return Operation(
        "",
        steps,
        atomic=True,
        warnings=[
            f"LOST: {gone} of {total} shards were only on {', '.join(str(n.at) for n in lost)}: "
            f"about {round(100 * gone / total)} % of all dialogs{about}, every message in them "
            "and every event of them that is not published",
            "these dialogs begin anew, empty, with message 1; a machine that comes back must be "
            "emptied before it is added again",
        ],
        hints=["if nodes hold more than others now: hlfast shards rebalance"],
        needs_yes=True,
    )


async def _must_be_lost(cluster: Cluster, lost: Sequence[Node]) -> None:
    silent = await cluster.silent()
    for node in lost:
        if node.is_coordinator:
            raise ShardsError(f"{node.at} is the coordinator")
        if node.at not in silent:
            raise ShardsError(f"{node.at} answers: `hlfast shards drain {node.at}` loses nothing")
    forgotten = {node.at for node in lost}
    for at in silent:
        if at not in forgotten:
            all_of_them = " ".join(map(str, silent))
            raise ShardsError(
                f"{at} does not answer either: start it, or, if it is lost, too: "
                f"hlfast shards forget {all_of_them}"
            )


def _new_homes(shards: Sequence[Any], takers: Sequence[Node]) -> dict[int, int]:
    """The node of each shard: those side by side stay so, and who holds least gets the next."""
    load = {node.id: node.placements for node in takers}
    homes: dict[int, int] = {}
    for _, side_by_side in groupby(shards, key=lambda row: (row["colocation_id"], row["low"])):
        home = min(load, key=lambda node: load[node])
        for row in side_by_side:
            homes[row["id"]] = home
            load[home] += 1
    return homes


async def count(cluster: Cluster, wanted: int) -> Operation:
    """So many shards: more by splitting, fewer (or no multiple) by writing all of them anew."""
    if not 1 <= wanted <= _SHARDS_MAX:
        raise ShardsError(f"the number of shards is 1 to {_SHARDS_MAX}")
    have = await cluster.must_be_distributed()
    await _must_be_quiet(cluster)
    if have == wanted:
        return Operation(f"there are {wanted} shards already")
    nodes = [node.id for node in await cluster.nodes() if node.takes_shards and node.active]
    steps = splits(await cluster.look("ranges"), wanted, nodes)
    if steps:
        await cluster.must_be_movable(split=True)
        warnings = [] if len(nodes) > 1 else ["one node only: messages wait while it splits"]
        hints = ["if nodes hold more than others now: hlfast shards rebalance"]
        return Operation("", steps, stalls=True, warnings=warnings, hints=hints)
    size = (await cluster.look("bytes"))[0]["bytes"]
    warning = (
        f"{size:,} bytes are written anew, and writes to dialogs wait meanwhile: "
        f"some {1 + size // _REWRITTEN_BYTES_PER_S} s"
    )
    steps = [
        *_ALONE,
        Step(f"write {wanted} new shards", "change_count", (wanted,)),
        *_delegation(list(FUNCTIONS)),
    ]
    return Operation("", steps, atomic=True, stalls=True, warnings=[warning])


def splits(ranges: Sequence[Any], wanted: int, nodes: Sequence[int]) -> list[Step]:
    """Splits that lead to so many even shards, none where there is no such way.

    Each range becomes as many parts as its width calls for, so that a change that was cut short
    is taken up where it stopped. `nodes` are those that take shards. The parts go to the next one:
    on the same one a split never ends when a row of the shard is updated meanwhile, because the
    parts get their keys there after the changes are already recorded (citusdata/citus#6790).
    """
    parts = [round((row["high"] - row["low"] + 1) * wanted / _HASHES) for row in ranges]
    if sum(parts) != wanted or 0 in parts:
        return []
    following = dict(zip(nodes, [*nodes[1:], *nodes[:1]], strict=True))
    steps = []
    for row, pieces in zip(ranges, parts, strict=True):
        if pieces > 1:
            width = (row["high"] - row["low"] + 1) / pieces
            ends = [str(row["low"] + round(width * part) - 1) for part in range(1, pieces)]
            target = following.get(row["node_id"], nodes[0])
            mode = "block_writes" if target == row["node_id"] else "force_logical"
            what = f"split shard {row['id']} into {pieces}"
            steps.append(Step(what, "split", (row["id"], ends, [target] * pieces, mode)))
    return steps


async def undistribute(cluster: Cluster) -> Operation:
    """Bring everything back to the coordinator."""
    await cluster.must_have_citus()
    tables = await cluster.tables()
    size = (await cluster.look("bytes"))[0]["bytes"]
    names = [n for n in (*TABLES, "user") if n in tables and tables[n].colocation_id is not None]
    steps = [
        Step(f"bring {name} back", "undistribute", (f'"{name}"',))
        for name in names
        if name != "user" or tables[name].is_reference
    ]
    if names and (await cluster.look("guard"))[0]["is_there"]:
        steps.append(Step("take the guard away", "guard", (False,)))
    if "message" in names:
        steps.append(Step("give message its triggers", "message_triggers", (True,)))
    if "user" in names and tables["user"].is_reference:
        steps.append(Step('give "user" its triggers', "user_triggers", (True,)))
    warning = f"{size:,} bytes go to the coordinator, and writes to dialogs wait meanwhile"
    return Operation(
        "nothing is distributed",
        [*_ALONE, *steps] if steps else [],
        atomic=True,
        stalls=True,
        warnings=[warning] if steps else [],
    )


async def moves(cluster: Cluster, *, drain: bool) -> list[Move]:
    """What a rebalance would move now."""
    return [
        Move(
            row["id"],
            row["name"],
            row["bytes"],
            Address(row["from_host"], row["from_port"]),
            Address(row["to_host"], row["to_port"]),
        )
        for row in await cluster.look("moves", drain)
    ]


async def _moves_when_drained(cluster: Cluster, at: Address) -> list[Move]:
    """As if the node took no shards, which nobody else gets to see."""
    transaction = cluster.connection.transaction()
    await transaction.start()
    try:
        await cluster.change("take_shards", at.host, at.port, False)
        return await moves(cluster, drain=True)
    finally:
        await transaction.rollback()


async def _running(cluster: Cluster) -> bool:
    newest = await cluster.look("rebalance")
    return bool(newest) and newest[0]["state"] not in ENDED


async def _must_be_quiet(cluster: Cluster) -> None:
    if await _running(cluster):
        raise ShardsError(
            "a rebalance is running: follow it with `hlfast shards rebalance`, "
            "or end it with `hlfast shards stop`"
        )


async def _known(cluster: Cluster, at: Address) -> Node:
    node = await cluster.node(at)
    if node is None:
        known = ", ".join(str(node.at) for node in await cluster.nodes())
        raise ShardsError(f"{at} is not in the cluster, which has {known or 'no nodes'}")
    return node
