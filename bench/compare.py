"""This service beside others, or beside another commit of itself, in one run of interleaved rounds.

    python -m bench.compare [--peers static FastAPI ...] [--against COMMIT ...] [--users 10000]

One server process on core 0; PostgreSQL, Redis and the load on core 1. The exit status is 1 if
any answer was wrong, or if this tree is slower than a commit beyond `--worse-than`. See
bench/README.md for the method.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import uvloop

from bench import checks, contenders, load, processes, report, scenarios, verdict
from bench.contenders import CONTENDERS, OURS, STATIC, Contender
from bench.database import seeded
from bench.load import Exchange
from bench.report import Round
from bench.scenarios import Read, Sends
from hl_utils.servers.process import free_port
from hl_utils.servers.redis import RedisServer

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

    def answers(self, scenario: str) -> bool:
        """Whether it takes part: the bare server has but one answer."""
        return scenario in self.reads or (scenario == checks.SEND and self.sends is not None)

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


def arguments() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database-url", help="one with our tables, on this machine")
    parser.add_argument("--users", type=int, default=10_000, help="seeded if there are none")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each round")
    parser.add_argument("--peers", nargs="*", choices=[*CONTENDERS], default=["FastAPI"])
    parser.add_argument("--against", nargs="*", default=[], metavar="COMMIT")
    parser.add_argument("--worse-than", type=float, default=1.05, metavar="RATIO")
    parser.add_argument("--only", nargs="*", choices=checks.SCENARIOS, default=checks.SCENARIOS)
    report.add_out(parser, "compare")
    options = parser.parse_args()
    if options.against and options.rounds < verdict.ROUNDS_MIN:
        parser.error(f"--against needs {verdict.ROUNDS_MIN} rounds or more for a verdict")
    return options


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


async def _empty_outbox(database: asyncpg.Connection, name: str) -> None:
    """Take away the events that a peer has left, or the service would wait for them."""
    if name in CONTENDERS and name != OURS:
        await database.execute("DELETE FROM messageoutbox")


async def compare(
    options: argparse.Namespace,
    database_url: str,
    servers_of: dict[str, tuple[int, int]],
    secret: str,
) -> list[Round]:
    """Run all rounds of all contenders. Raises WrongAnswer."""
    database = await asyncpg.connect(database_url)
    # The server that the load talks to, wherever it was started from.
    postgres_pid = processes.parent(await database.fetchval("SELECT pg_backend_pid()"))
    processes.pin(postgres_pid, LOAD_CORE)
    servers: list[Server] = []
    for name, (port, pid) in servers_of.items():
        if name == STATIC:
            reads = {checks.STATIC: [Read("/static", json.loads(contenders.STATIC_BODY))]}
            servers.append(Server(name, port, pid, reads, None))
            continue
        reads = await checks.reads(database, DISTINCT, random.Random(1), secret)
        sends = await scenarios.sends(database, DIALOGS_WRITTEN, random.Random(2), secret)
        await checks.everything_once(database, port, reads, sends)
        await _empty_outbox(database, name)
        if servers:
            checks.same_bytes(servers[0].reads, reads)
        servers.append(Server(name, port, pid, reads, sends))
    print("Every answer of every server is right, and the same bytes.", flush=True)
    rounds: list[Round] = []
    for number in range(1, options.rounds + 1):
        for scenario in (checks.STATIC, *options.only):
            # A B, B A, …: what drifts with time favours neither.
            for server in servers if number % 2 else servers[::-1]:
                if not server.answers(scenario):
                    continue
                found = await one_round(database, server, scenario, number, options, postgres_pid)
                if scenario == checks.SEND:
                    await _empty_outbox(database, server.name)
                rounds.append(found)
                print(
                    f"{number}/{options.rounds} {scenario}, {server.name}: "
                    f"{found.requests_per_s:,.0f}/s, {found.server_cpu_us:.0f} µs",
                    flush=True,
                )
    await database.close()
    return rounds


def main() -> int:
    """Run, print, write."""
    options = arguments()
    os.sched_setaffinity(0, {LOAD_CORE})
    secret = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        database_url = stack.enter_context(
            seeded(options.database_url, users=options.users, means=MEANS)
        )
        redis = stack.enter_context(RedisServer())
        try:
            running = [CONTENDERS[OURS], *(CONTENDERS[name] for name in options.peers)]
            running += [stack.enter_context(contenders.commit(one)) for one in options.against]
            versions = {k: v for one in running for k, v in one.install().items()}
            started = start_servers(stack, running, database_url, redis.url, secret)
            rounds = uvloop.run(compare(options, database_url, started, secret))
        except (load.WrongAnswer, RuntimeError, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        facts = report.machine() | versions | uvloop.run(report.database_facts(database_url))
    method = (
        f"{options.connections} keep-alive connections in a closed loop, {options.rounds} rounds "
        f"of {options.seconds:g} s after {options.warm_up:g} s of warm-up, alternating; one "
        f"server process on core {SERVER_CORE}, PostgreSQL and load on core {LOAD_CORE}; "
        "ratios of neighbouring rounds: median (lowest..highest). Every answer checked."
    )
    lines = report.table(rounds, OURS)
    is_worse = False
    for one in options.against:
        found = verdict.of_rounds(rounds, OURS, one, options.worse_than)
        lines += ["", verdict.CAPTION, "", *verdict.table(found, OURS, one)]
        is_worse |= any(each.is_worse for costs in found.values() for each in costs.values())
    report.write(options.out, facts, method, lines, [asdict(one) for one in rounds])
    print(options.out.with_suffix(".md").read_text())
    return int(is_worse)


if __name__ == "__main__":
    sys.exit(main())
