"""Frames to sockets: what a frame costs each server that writes it to a thousand of them.

    bash build.sh lab frames [--rounds 8]

The servers, scenes and checks are those of `bench.live.peers`: every byte of every socket is held
against the event. Needs Node.js for its peers, else they are left out.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import uvloop

from bench import processes, report
from bench.lab import catalog, measurement, streams
from bench.lab.arms import Arm, Kind
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.window import Window
from bench.lab.workloads import Cell
from bench.live import peers_scenes, peers_servers
from bench.live.peers_listener import WEBSOCKET, Wire
from bench.live.peers_scenes import (
    BURSTS,
    ONE_TO_ALL,
    ONE_TO_ONE,
    PAUSE_S,
    SOCKETS,
    Contender,
    Delivery,
)
from bench.live.peers_servers import QUIET_S, Server
from bench.live.world import World, world
from bench.load import WrongAnswer

# Where its results go.
NAME = "lab-frames"
SCENES = (ONE_TO_ALL, BURSTS, ONE_TO_ONE)
# The service's own switches that a websocket node has, in the order of the ladder.
SWITCHES = {
    "join_events": "joined-events",
    "freeze_gc": "frozen-gc",
    "batch_scheduling": "batch-scheduling",
}
_NODE_SENDS = ("plain", "prepared", "corked")
PARTS = {
    Kind.LADDER: (
        "Frames to sockets",
        "From Starlette's websockets to the service's own node. A gain is how many more frames the "
        "same CPU time writes.",
    ),
    Kind.ADVISED: (
        "Beside event streams, and Node's ws",
        "How many more frames ours writes to websockets for the same CPU than to event streams, "
        "and than Node with ws: sent one by one, framed once, and corked.",
    ),
    Kind.SAME: ("A/A: the same twice", "Two starts of one node. What is seen here is not there."),
}


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab frames`."""
    found = argparse.ArgumentParser(
        prog="lab frames", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("--scenes", nargs="+", choices=SCENES, default=SCENES[:2])
    found.add_argument("--rounds", type=int, default=8)
    found.add_argument("--seconds", type=float, default=1.0, help="of a window")
    report.add_out(found, NAME)
    return found


def _arm(name: str, on: Sequence[str]) -> Arm:
    environment = {f"HLFAST_TUNING__{one.upper()}": str(one in on).lower() for one in SWITCHES}
    return Arm(name, name, (), environment)


def arms(*, has_node: bool) -> list[Arm]:
    """The arms of websocket servers: the ladder, Node's, and the last rung twice."""
    first = Arm("starlette-websockets", "starlette-websockets", ())
    ladder = [first, replace(_arm("websocket-node", ()), without=first.name)]
    for count, method in enumerate(SWITCHES.values(), 1):
        ladder.append(replace(_arm(method, [*SWITCHES][:count]), without=ladder[-1].name))
    ours = ladder[-1]
    node = [
        Arm(f"ws {send}", f"ws {send}", (), {"SEND": send}, ours.name, True, Kind.ADVISED)
        for send in _NODE_SENDS
        if has_node
    ]
    return [*ladder, streams.arm(ours), *node, catalog.same(ours)]


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options mean. Raises toolchains.MissingProgram."""
    has_node = shutil.which("npm") is not None
    if has_node:
        peers_servers.install_node_peer()
    else:
        print("Left out: Node's ws, as npm is not installed.")
    return Plan(
        arms=tuple(arms(has_node=has_node)),
        cells=tuple(Cell(scene, "") for scene in options.scenes),
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up_s=0.3,
        connections=SOCKETS,
        users=0,
        requests_max=0,
    )


def words(plan: Plan) -> tuple[str, ...]:
    """Sentences on how frames were measured."""
    return (
        f"{plan.rounds} rounds. In each, every server is started anew with {plan.connections:,} "
        f"sockets, and each scene is played for {plan.seconds:g} s after {plan.warm_up_s:g} s of "
        f"warm-up, scenes and arms in random order. The next event comes {1000 * PAUSE_S:g} ms "
        "after the last socket had the one before; a burst is published in one loop turn. Every "
        "byte of every socket is held against the events.",
        "CPU is the user and system time of the server that writes the frames, by the scheduler's "
        "own clock, over the frames written; requests per second stand for frames per second of "
        "CPU time. Latencies are from the publishing to the frame in the client.",
        measurement.VERDICTS,
    )


def measure(plan: Plan, cores: Cores, journal: Journal, progress: Progress) -> None:
    """Measure every round that the journal lacks.

    Raises WrongAnswer, RuntimeError, KeyboardInterrupt.
    """
    progress.say("PostgreSQL, Redis and 10,000 people")
    allowed, nice = os.sched_getaffinity(0), os.nice(0)
    try:
        with world(log_statement="none") as made:
            made.postgres.psql("bench", "-c", peers_servers.PEER_TABLE)
            rounds(plan, made, journal, progress)
    except peers_scenes.Wrong as error:
        raise WrongAnswer(str(error)) from error
    finally:
        os.sched_setaffinity(0, allowed)
        # Only root may take back that others go first.
        if os.geteuid() == 0:
            os.nice(nice - os.nice(0))


def rounds(plan: Plan, made: World, journal: Journal, progress: Progress) -> None:
    """Measure every round that the journal lacks, each with new servers. Raises Wrong."""
    for number in range(1, plan.rounds + 1):
        if number in journal.rounds:
            continue
        with ExitStack() as stack:
            progress.say(f"round {number}: {len(plan.arms)} arms start")
            servers = [stack.enter_context(_started(made, arm)) for arm in plan.arms]
            uvloop.run(_round(plan, servers, number, journal, progress))
        progress.line(f"Round {number} of {plan.rounds}")


def _started(made: World, arm: Arm) -> AbstractContextManager[Server]:
    channel = arm.name.replace(" ", "-")
    if arm.name == "starlette-websockets":
        return peers_servers.starlette(made, channel)
    if "SEND" in arm.environment:
        return peers_servers.node_ws(made, channel, arm.environment["SEND"])
    return _node(made, channel, arm.environment)


def wire_of(arm: Arm) -> Wire:
    """How an arm's listeners are connected."""
    return streams.WIRE if arm.name == streams.NAME else WEBSOCKET


@contextmanager
def _node(made: World, name: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """A node of ours with an event log of its own, and no API: nothing is asked over HTTP here."""
    settings = {
        "HLFAST_WS_PING_S": QUIET_S,
        "HLFAST_WS_COMMENT_S": QUIET_S,
        "HLFAST_EVENTS_NAME": name,
        **environment,
    }
    with made.node(**settings) as node:
        face = partial(peers_servers.Ours, made, events_name=name)
        yield Server("hlfast", node.port, node.port, node.process.pid, face)


async def _round(
    plan: Plan, servers: Sequence[Server], number: int, journal: Journal, progress: Progress
) -> None:
    chance = random.Random(plan.seed * 1_000_003 + number)
    contenders = {
        arm.name: Contender(server, server.face(), wire_of(arm))
        for arm, server in zip(plan.arms, servers, strict=True)
    }
    for one in contenders.values():
        await one.connect(plan.connections)
    for cell in chance.sample(plan.cells, len(plan.cells)):
        for arm in chance.sample(plan.arms, len(plan.arms)):
            one = contenders[arm.name]
            await peers_scenes.window(one, cell.workload, 0, plan.warm_up_s)
            found = await peers_scenes.window(one, cell.workload, number, plan.seconds)
            journal.add(_window(found, arm, cell, one.server.pid))
            progress.step(f"round {number} of {plan.rounds}: {cell}, {arm.name}")
    for one in contenders.values():
        await one.close()


def _window(found: Delivery, arm: Arm, cell: Cell, pid: int) -> Window:
    return Window(
        round=found.number,
        arm=arm.name,
        workload=cell.workload,
        population=cell.population,
        requests=found.frames,
        seconds=found.frames * found.cpu_us_per_frame / 1e6,
        cpu_us=found.cpu_us_per_frame,
        first_half_us=found.cpu_us_per_frame,
        second_half_us=found.cpu_us_per_frame,
        database_cpu_us=0.0,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        memory_mb=processes.memory_mb(pid),
        load_busy=found.load_busy,
        others=found.others_on_server_core,
    )
