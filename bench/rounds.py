"""Servers side by side on one core, and the windows in which they take turns."""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench import checks, load, processes
from bench.contenders import Contender
from bench.load import Exchange
from bench.report import Round
from bench.scenarios import Read, Sends
from hl_utils.servers.process import free_port

SERVER_CORE, LOAD_CORE = 0, 1
# Distinct requests of a scenario: more than any server would answer from its
# own short memory by chance, few enough to check each before the first round.
DISTINCT = 1000
DIALOGS_WRITTEN = 256
# Per user. Enough that many feeds and dialogs fill a page.
MEANS = {"friends": 20, "posts": 5, "dialogs": 3}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and, for each scenario, what to ask it."""

    name: str
    port: int
    pid: int
    reads: dict[str, list[Read]]
    sends: Sends | None

    def sources(self, scenario: str, connections: int) -> Sequence[Iterator[Exchange]]:
        """An endless source of exchanges for each connection."""
        if self.sends is not None and scenario == checks.SEND:
            return self.sends.sources(connections)
        reads = self.reads[scenario]
        # Each connection starts elsewhere, so that they don't ask the same at once.
        step = len(reads) / connections
        return [
            itertools.cycle(reads[int(i * step) :] + reads[: int(i * step)])
            for i in range(connections)
        ]


def start_servers(
    stack: ExitStack,
    running: Sequence[Contender],
    database_url: str,
    redis_url: str,
    secret: str,
) -> dict[str, tuple[int, int]]:
    """Name -> (port, process id). Each has one process; the bounds are the service's own."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HLFAST_SECRET": secret,
        "HLFAST_WORKERS": "1",
        # The peer publishes nothing: what it leaves in the outbox is not ours to send meanwhile.
        "HLFAST_OUTBOX_SWEEP_S": "3600",
    }
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    started: dict[str, tuple[int, int]] = {}
    for number, one in enumerate(running):
        port = free_port()
        pid = stack.enter_context(
            processes.server(
                [word.format(port=port) for word in one.argv],
                {**environment, **one.environment, "HLFAST_HTTP_PORT": str(port)},
                directory=one.directory,
                port=port,
                core=SERVER_CORE,
                log=logs / str(number),
            )
        )
        started[one.name] = port, pid
    return started


class Clock:
    """CPU times at the two ends of a window."""

    def __init__(self, server: Server, postgres_pid: int) -> None:
        self._server = server
        self._postgres_pid = postgres_pid
        self._marks: list[tuple[float, float, float, float]] = []

    def mark(self) -> None:
        """Read the counters of CPU time now."""
        self._marks.append(
            (
                processes.cpu_s(self._server.pid),
                processes.cpu_s(self._postgres_pid),
                time.process_time(),
                processes.core_busy_s(SERVER_CORE),
            )
        )

    def round(self, scenario: str, number: int, tally: load.Tally) -> Round:
        """The figures of the window since the mark."""
        before, after = self._marks
        server_s, postgres_s, load_s, core_s = (b - a for a, b in zip(before, after, strict=True))
        return Round(
            scenario=scenario,
            server=self._server.name,
            number=number,
            requests=tally.requests,
            requests_per_s=tally.requests / tally.seconds,
            server_cpu_us=server_s / tally.requests * 1e6,
            postgres_cpu_us=postgres_s / tally.requests * 1e6,
            p50_ms=tally.percentile_ms(0.5),
            p99_ms=tally.percentile_ms(0.99),
            server_busy=server_s / tally.seconds,
            load_busy=load_s / tally.seconds,
            others_on_server_core=max(core_s - server_s, 0.0) / tally.seconds,
        )


async def one_round(
    database: asyncpg.Connection,
    server: Server,
    scenario: str,
    number: int,
    options: argparse.Namespace,
    postgres_pid: int,
) -> Round:
    """Warm up, measure, and for sends hold the database against what was acknowledged."""
    if server.sends is not None and scenario == checks.SEND:
        before = await checks.dialogs(database, server.sends)
    clock = Clock(server, postgres_pid)
    tally = await load.measure(
        server.port,
        server.sources(scenario, options.connections),
        warm_up_s=options.warm_up,
        seconds=options.seconds,
        mark=clock.mark,
    )
    if server.sends is not None and scenario == checks.SEND:
        await checks.dialogs_after(database, server.sends, before)
    return clock.round(scenario, number, tally)
