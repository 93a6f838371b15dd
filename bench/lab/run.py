"""The rounds of a run: every arm anew, cells and arms in random order, every answer checked."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import asyncpg
import uvloop

from bench import checks, load
from bench.lab import servers, window, workloads
from bench.lab.arms import Arm, Running, all_running
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.servers import Servers
from bench.lab.window import Clock, Window
from bench.lab.workloads import MIX, SEND, Cell, Requests, Zipped

# The signing key of tokens, which are made once and outlive every round.
_SECRET = "of-32-bytes-or-more-for-the-lab-alone"
# What is asked before the window itself, on its own connections.
_CONNECT_S = 0.05


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What the windows of a run share."""

    plan: Plan
    cores: Cores
    servers: Servers
    database: asyncpg.Connection
    requests: Requests

    async def window(self, number: int, cell: Cell, running: Running) -> Window:
        """Warm up and measure. Raises WrongAnswer."""
        sends = self.requests.sends if cell.workload in (SEND, MIX) else None
        before = await checks.dialogs(self.database, sends) if sends is not None else {}
        asked = {
            "connections": self.plan.connections,
            "seed": zlib.crc32(f"{self.plan.seed} {number} {cell}".encode()),
            "wrap": Zipped if running.arm.name == "gzip" else None,
        }
        warm_up = self.requests.sources(cell, warm_up=True, **asked)
        await load.measure(
            running.port, warm_up, warm_up_s=0, seconds=self.plan.warm_up_s, mark=lambda: None
        )
        clock = Clock(running.pid, self.servers.postgres_pid, self.cores.server)
        tally = await window.measure(
            running.port,
            self.requests.sources(cell, **asked),
            warm_up_s=_CONNECT_S,
            seconds=self.plan.seconds,
            clock=clock,
        )
        found = window.window(
            number, running.arm.name, cell.workload, cell.population, tally, clock, running.pid
        )
        if sends is not None:
            await checks.dialogs_after(self.database, sends, before)
            if running.arm.leaves_events:
                # Or the service would wait for them.
                await self.database.execute("DELETE FROM messageoutbox")
        return found


def environment(redis_url: str) -> dict[str, str]:
    """What every arm is told. The bounds are the service's own."""
    return {
        "REDIS_URL": redis_url,
        "HLFAST_SECRET": _SECRET,
        "HLFAST_WORKERS": "1",
        # What others leave in the outbox is not the service's to send meanwhile.
        "HLFAST_OUTBOX_SWEEP_S": "3600",
        # Nobody is told that an arm goes.
        "HLFAST_DRAIN_NOTICE_S": "0",
    }


def run(plan: Plan, cores: Cores, journal: Journal, progress: Progress) -> None:
    """Measure what the journal lacks. Raises WrongAnswer, RuntimeError, KeyboardInterrupt."""
    with ExitStack() as stack:
        progress.say("PostgreSQL and its population")
        found = stack.enter_context(servers.running(plan.users, cores.databases))
        allowed = os.sched_getaffinity(0)
        stack.callback(os.sched_setaffinity, 0, allowed)
        uvloop.run(_rounds(plan, cores, found, journal, progress))


async def _rounds(
    plan: Plan, cores: Cores, found: Servers, journal: Journal, progress: Progress
) -> None:
    database = await asyncpg.connect(found.urls[True])
    progress.say("requests and their right answers")
    names = list(dict.fromkeys(one.workload for one in plan.cells))
    requests = await workloads.prepare(database, names, plan.requests_max, _SECRET)
    laboratory = Laboratory(plan, cores, found, database, requests)
    todo = [number for number in range(1, plan.rounds + 1) if number not in journal.rounds]
    for number in todo:
        await _one_round(laboratory, number, journal, progress)
        progress.line(f"Round {number} of {plan.rounds}")
    await database.close()


async def _one_round(
    laboratory: Laboratory, number: int, journal: Journal, progress: Progress
) -> None:
    plan, cores = laboratory.plan, laboratory.cores
    chance = random.Random(plan.seed * 1_000_003 + number)
    progress.say(f"round {number}: {len(plan.arms)} arms start")
    allowed = set(cores.all)
    os.sched_setaffinity(0, allowed)
    with all_running(
        plan.arms, environment(laboratory.servers.redis_url), cores.server, laboratory.servers.urls
    ) as running:
        os.sched_setaffinity(0, {cores.load})
        for cell in shuffled(plan.cells, chance):
            for arm in shuffled(plan.arms, chance):
                journal.add(await laboratory.window(number, cell, running[arm.name]))
                progress.step(f"round {number} of {plan.rounds}: {cell}, {arm.name}")


def shuffled(found: Sequence[Cell] | Sequence[Arm], chance: random.Random) -> list:
    """All of them in an order of chance."""
    return chance.sample(list(found), len(found))
