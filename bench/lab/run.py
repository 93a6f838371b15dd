"""The rounds of a run: every arm anew, cells and arms in random order, every answer checked."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from bench import checks, load
from bench.lab import flames, keys, window
from bench.lab.arms import Running, all_running
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.window import Clock, Window
from bench.lab.workloads import MIX, SEND, Cell
from bench.lab.workplace import Opened, Workplace

# The window's own connections are made before it begins.
_CONNECT_S = 0.05


# Measures what the journal lacks. Raises WrongAnswer, RuntimeError, KeyboardInterrupt.
Measuring = Callable[[Plan, Cores, Journal, Progress], None]


def over_http(opened: Opened, *, with_flames: bool = False) -> Measuring:
    """Measuring by rounds of requests in a workplace, and then flame graphs if they are wanted."""

    def run(plan: Plan, cores: Cores, journal: Journal, progress: Progress) -> None:
        allowed = os.sched_getaffinity(0)
        try:
            rounds = _rounds(plan, cores, journal, progress, opened, with_flames=with_flames)
            uvloop.run(rounds)
        finally:
            os.sched_setaffinity(0, allowed)

    return run


async def _rounds(
    plan: Plan,
    cores: Cores,
    journal: Journal,
    progress: Progress,
    opened: Opened,
    *,
    with_flames: bool,
) -> None:
    if with_flames:
        flames.forget(journal.path.parent)
    async with opened as workplace:
        laboratory = _Laboratory(plan, cores, workplace)
        for number in range(1, plan.rounds + 1):
            if number not in journal.rounds:
                await laboratory.round(number, journal, progress)
                progress.line(f"Round {number} of {plan.rounds}")
        if with_flames:
            progress.say("flame graphs of the first rung and the last")
            await flames.record(plan, cores, workplace, journal.path.parent)


@dataclass(frozen=True, slots=True)
class _Laboratory:
    plan: Plan
    cores: Cores
    workplace: Workplace

    async def round(self, number: int, journal: Journal, progress: Progress) -> None:
        """Every arm in every cell."""
        plan, chance = self.plan, random.Random(self.plan.seed * 1_000_003 + number)
        progress.say(f"round {number}: {len(plan.arms)} arms start")
        os.sched_setaffinity(0, set(self.cores.all))
        workplace = self.workplace
        async with all_running(
            plan.arms, workplace.environment, self.cores.server, workplace.urls
        ) as running:
            os.sched_setaffinity(0, {self.cores.load})
            for cell in chance.sample(plan.cells, len(plan.cells)):
                for arm in chance.sample(plan.arms, len(plan.arms)):
                    journal.add(await self.window(number, cell, running[arm.name]))
                    progress.step(f"round {number} of {plan.rounds}: {cell}, {arm.name}")

    async def window(self, number: int, cell: Cell, running: Running) -> Window:
        """Warm up and measure. Raises WrongAnswer, which names the arm."""
        try:
            return await self._window(number, cell, running)
        except load.WrongAnswer as error:
            raise load.WrongAnswer(f"{running.arm.name}, {cell}: {error}") from error

    async def _window(self, number: int, cell: Cell, running: Running) -> Window:
        requests, database = self.workplace.requests, self.workplace.database
        sends = requests.sends if cell.workload in (SEND, MIX) else None
        before = {} if sends is None else await checks.dialogs(database, sends)
        connections = self.plan.connections
        seed = zlib.crc32(f"{self.plan.seed} {number} {cell}".encode())
        wrap = running.arm.wrap
        warm_up = requests.sources(cell, connections, seed, warm_up=True, wrap=wrap)
        await load.measure(
            running.port, warm_up, warm_up_s=0, seconds=self.plan.warm_up_s, mark=lambda: None
        )
        clock = Clock(running.pid, self.workplace.database_pid, self.cores.server)
        tally = await window.measure(
            running.port,
            requests.sources(cell, connections, seed, wrap=wrap),
            # Nothing is asked twice of cold keys: none of them is spent on that.
            warm_up_s=0 if cell.population == keys.COLD else _CONNECT_S,
            seconds=self.plan.seconds,
            clock=clock,
        )
        found = window.window(
            number, running.arm.name, cell.workload, cell.population, tally, clock, running.pid
        )
        if sends is not None:
            await checks.dialogs_after(database, sends, before)
            if running.arm.leaves_events and database is not None:
                # Or the service would wait for them.
                await database.execute("DELETE FROM messageoutbox")
        return found
