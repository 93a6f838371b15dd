"""How tables become shards, how many, and one table again; as steps that change nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hl_utils.shards.cluster import FUNCTIONS, TABLES, Address, Cluster, ShardsError
from hl_utils.shards.steps import Operation, Step

SHARDS = 32
_SHARDS_MAX = 4096
_HASHES = 2**32
# Seen with two nodes on one machine of two cores; a guess anywhere else.
_REWRITTEN_BYTES_PER_S = 10_000_000
# Steps before tables are written anew.
_ALONE = (Step("", "one_connection"), Step("wait for what is being written", "lock_dialogs"))


async def init(cluster: Cluster, coordinator: Address, *, reference_user: bool) -> Operation:
    """Distribute what is not yet. The tables must be there, and Citus."""
    steps: list[Step] = []
    tables = await cluster.tables()
    if missing := [name for name in TABLES if name not in tables]:
        raise ShardsError(f"there is no table {missing[0]}: run `hlfast tables` first")
    steps += await set_coordinator(cluster, coordinator)
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


async def set_coordinator(cluster: Cluster, at: Address) -> list[Step]:
    """The step that names the coordinator's address to the workers, where they have none."""
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


async def count(cluster: Cluster, wanted: int) -> Operation:
    """So many shards: more by splitting, fewer (or no multiple) by writing all of them anew."""
    if not 1 <= wanted <= _SHARDS_MAX:
        raise ShardsError(f"the number of shards is 1 to {_SHARDS_MAX}")
    have = await cluster.must_be_distributed()
    await cluster.must_be_quiet()
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
