"""The workplace of our own ladder: PostgreSQL with a population, Redis, requests with answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress

import asyncpg

from bench import report
from bench.lab import servers, workloads
from bench.lab.cores import Cores
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.workplace import Workplace

# The signing key of tokens, which are made once and outlive every round.
_SECRET = "of-32-bytes-or-more-for-the-lab-alone"


@asynccontextmanager
async def opened(
    plan: Plan,
    cores: Cores,
    progress: Progress,
    more: Iterable[str] = (),
    facts: dict[str, str] | None = None,
) -> AsyncIterator[Workplace]:
    """For as long as the block runs. `more`: workloads beside the plan's; `facts` gets some."""
    progress.say("PostgreSQL and its population")
    with ExitStack() as stack:
        # In a thread, as it runs loops of its own.
        running = servers.running(plan.users, cores.databases)
        starting = asyncio.create_task(asyncio.to_thread(stack.enter_context, running))
        try:
            found = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Or it would be entered after all has been left.
            with suppress(Exception):
                await starting
            raise
        database = await asyncpg.connect(found.urls[True])
        if facts is not None:
            facts |= await report.database_facts(found.urls[True])
        progress.say("requests and their right answers")
        names = list(dict.fromkeys([*(one.workload for one in plan.cells), *more]))
        requests = await workloads.prepare(database, names, plan.requests_max, _SECRET)
        try:
            yield Workplace(
                requests, _environment(found.redis_url), found.urls, database, found.postgres_pid
            )
        finally:
            await database.close()


def _environment(redis_url: str) -> dict[str, str]:
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
