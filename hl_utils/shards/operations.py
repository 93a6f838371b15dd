"""How nodes join and leave, and shards move between them; as steps that change nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from hl_utils.shards.cluster import Address, Cluster, Node, ShardsError
from hl_utils.shards.distribution import set_coordinator
from hl_utils.shards.steps import Move, Operation, Step
from hlfast.db.hosts import LOOK_EVERY_S


async def add(cluster: Cluster, coordinator: Address, at: Address) -> Operation:
    """A server joins; it has PostgreSQL with Citus and a database of the same name."""
    await cluster.must_have_citus()
    node = await cluster.node(at)
    steps = await set_coordinator(cluster, coordinator)
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
    running = await cluster.is_rebalancing()
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
    node = await cluster.known(at)
    await cluster.must_be_quiet()
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
    if not await cluster.is_rebalancing():
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
    await cluster.must_be_quiet()
    lost = [await cluster.known(at) for at in dict.fromkeys(ats)]
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
    """The moves of a rebalance if the node took no shards, which nobody else gets to see."""
    transaction = cluster.connection.transaction()
    await transaction.start()
    try:
        await cluster.change("take_shards", at.host, at.port, False)
        return await moves(cluster, drain=True)
    finally:
        await transaction.rollback()
