"""What it costs, and what it spares the primary, that replicas answer searches and feeds.

    python -m bench.replicas [--users 10000] [--rounds 3] [--seconds 4]

An API without replicas, one with one and one with two, on one cluster, in alternating rounds.
Prints a table. The exit status is 1 if any answer was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from statistics import median

import asyncpg
import uvloop

from bench import checks, load, processes, report, scenarios
from bench.load import Exchange
from bench.scenarios import Read, Sends
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.replicated import DATABASE, Cluster, answered, running
from hl_utils.servers.services import Api

DISTINCT = 500
MEANS = {"friends": 20, "posts": 5, "dialogs": 3}
# Of the connections, those that write in the scenario beside writes.
WRITERS = 2
BESIDE_WRITES = "feed page beside writes"


def arguments() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each round")
    return parser.parse_args()


def sources(
    scenario: str, reads: dict[str, list[Read]], sends: Sends, connections: int
) -> Sequence[Iterator[Exchange]]:
    """An endless source of exchanges for each connection."""
    beside = scenario == BESIDE_WRITES
    wanted = reads[checks.FEED if beside else scenario]
    readers = connections - WRITERS * beside
    found: list[Iterator[Exchange]] = [
        cycle(wanted[(start := i * len(wanted) // readers) :] + wanted[:start])
        for i in range(readers)
    ]
    return found + list(sends.sources(WRITERS)) if beside else found


async def measure(
    options: argparse.Namespace, cluster: Cluster, apis: Sequence[Api], secret: str
) -> dict[tuple[str, int], list[tuple[float, ...]]]:
    """Scenario and number of replicas -> figures of each round. Raises WrongAnswer."""
    database = await asyncpg.connect(cluster.a.url(DATABASE))
    reads = await checks.reads(database, DISTINCT, random.Random(1), secret)
    found: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for number in range(options.rounds):
        for scenario in (checks.USER, checks.SEARCH, checks.FEED, BESIDE_WRITES):
            order = list(enumerate(apis))
            for replicas, api in order if number % 2 else order[::-1]:
                sends = await scenarios.sends(database, 256, random.Random(2), secret)
                before = await checks.dialogs(database, sends)
                pids = [api.process.pid, *(one.process.pid for one in cluster.members)]
                marks: list[list[float]] = []
                by = answered(api)
                tally = await load.measure(
                    api.port,
                    sources(scenario, reads, sends, options.connections),
                    warm_up_s=options.warm_up,
                    seconds=options.seconds,
                    mark=lambda: marks.append([processes.cpu_s(pid) for pid in pids]),  # noqa: B023
                )
                await checks.dialogs_after(database, sends, before)
                now = answered(api)
                gained = {name: now[name] - by.get(name, 0) for name in now}
                share = gained.get("replica", 0) / (sum(gained.values()) or 1)
                api_s, primary_s, *others = (b - a for a, b in zip(*marks, strict=True))
                each = (api_s, primary_s, sum(others))
                found.setdefault((scenario, replicas), []).append(
                    (
                        tally.requests / tally.seconds,
                        *(seconds / tally.requests * 1e6 for seconds in each),
                        tally.percentile_ms(0.5),
                        share * 100,
                    )
                )
    await database.close()
    return found


def main() -> int:
    """Run all arms and print the page."""
    options = arguments()
    secret = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        cluster = stack.enter_context(running())
        amounts = [f"--{name}={value:g}" for name, value in MEANS.items()]
        seed = ["seed", f"--users={options.users}", "--seed=1", *amounts]
        subprocess.run(
            [sys.executable, "-m", "hl_utils", *seed],
            check=True,
            env={**os.environ, "DATABASE_URL": cluster.a.url(DATABASE)},
        )
        standbys = [one.url(DATABASE) for one in (cluster.b, cluster.c)]
        apis = [
            stack.enter_context(
                Api(
                    cluster.a.url(DATABASE),
                    redis.url,
                    HLFAST_SECRET=secret,
                    DATABASE_REPLICA_URLS=",".join(standbys[:count]),
                )
            )
            for count in range(3)
        ]
        try:
            found = uvloop.run(measure(options, cluster, apis, secret))
        except load.WrongAnswer as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    facts = report.machine()
    print(f"\n{facts['date']}; {facts['machine']}; users {options.users:,}, median of rounds\n")
    print(
        "| | replicas | requests/s | API CPU, µs | primary CPU, µs | replicas' CPU, µs "
        "| p50, ms | answered by replicas |\n| --- |" + " --- |" * 7
    )
    for (scenario, replicas), rounds in sorted(found.items()):
        rate, api, primary, others, p50, share = map(median, zip(*rounds, strict=True))
        print(
            f"| {scenario} | {replicas} | {rate:,.0f} | {api:.0f} | {primary:.0f} | {others:.0f} "
            f"| {p50:.1f} | {share:.0f}% |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
