"""What the service does beyond its capacity, and without its database for 10 seconds.

    python -m bench.overload [--users 10000] [--seconds 8] [--publish]

One server process on core 0; PostgreSQL, Redis and the load on core 1. The exit status is 1 if
anything was answered wrongly, or if something acknowledged is not there afterwards. See
bench/README.md for the method.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import resource
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import uvloop

from bench import checks, load, processes, report, scenarios
from bench.contenders import CONTENDERS, OURS
from bench.database import seeded
from bench.open_loop import OpenLoop, Outcome, Window, percentile_ms
from bench.overload_mix import MIX, Ledger, check_messages, mix
from bench.rounds import DISTINCT, LOAD_CORE, MEANS, SERVER_CORE
from bench.scenarios import Read, Thread
from hl_utils.servers.process import free_port
from hl_utils.servers.redis import RedisServer

CLOSED_LOOPS = (16, 32, 64, 128)
LOADS = (0.7, 1.0, 1.5, 2.0, 4.0)
CALM, STOPPED_UNDER = 0.1, 0.5
STOPPED_S = 10.0
# Open all the time: below the service's own bound.
CONNECTIONS = 3500
DIALOGS_WRITTEN = 2000
# A request that has no answer by then is without one.
PATIENCE_S = 15.0
# All is as before when this much time has passed without anything unusual…
_CALM_S = 1.0
_BIN_S = 0.25
# …which is a p99 so much above that of the calm, or a refusal, or no answer.
_SLOWER, _SLOWER_MS = 2.0, 5.0
# The load itself is to blame if more than a hundredth of it left so much too late.
LAG_MS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Round:
    """A window of load and the calm after it. Rates a second, shares of one core 0..1."""

    scene: str
    rate: float
    good_per_s: float
    refused_per_s: float
    unsent_per_s: float
    others: dict[int, int]
    good_p50_ms: float
    good_p99_ms: float
    reads_p99_ms: float
    refused_p50_ms: float
    refused_p99_ms: float
    recovered_s: float
    lag_p99_ms: float
    load_busy: float
    server_busy: float
    postgres_busy: float
    load_core_busy: float

    @property
    def valid(self) -> bool:
        """Whether the load did what it should."""
        return self.lag_p99_ms <= LAG_MS_MAX


def recovered_s(outcomes: Sequence[Outcome], since: float, until: float, limit_ms: float) -> float:
    """Seconds from `since` to the first second in which all is as usual; infinite for never."""
    count = int((until - since) / _BIN_S)
    bins: list[list[Outcome]] = [[] for _ in range(count)]
    for one in outcomes:
        index = int((one.due - since) / _BIN_S)
        if 0 <= index < count:
            bins[index].append(one)
    usual = [
        bool(found)
        and all(one.status not in (0, 503) for one in found)
        and percentile_ms([one.latency_s for one in found], 0.99) <= limit_ms
        for found in bins
    ]
    needed = int(_CALM_S / _BIN_S)
    for index in range(count - needed + 1):
        if all(usual[index : index + needed]):
            return index * _BIN_S
    return float("inf")


class Stage:
    """The load, the processes, and what is usual."""

    def __init__(self, loop: OpenLoop, server_pid: int, postgres_pid: int) -> None:
        self.loop, self.postgres_pid = loop, postgres_pid
        self._server_pid = server_pid
        self.calm_ms = 0.0
        self.best_per_s = 0.0
        self.rounds: list[Round] = []

    def capacity(self, seconds: float) -> list[str]:
        """The best of several closed loops."""
        self.loop.closed(CLOSED_LOOPS[1], seconds)
        lines = []
        for connections in CLOSED_LOOPS:
            self.loop.drain(PATIENCE_S)
            before = self._cpu_s()
            window = self.loop.closed(connections, seconds)
            server, postgres, core = self._shares(before, window.seconds)
            good = [one.latency_s for one in window.good()]
            per_s = len(good) / window.seconds
            self.best_per_s = max(self.best_per_s, per_s)
            lines.append(
                f"| {connections} | {per_s:,.0f} | {percentile_ms(good, 0.5):.1f} "
                f"| {percentile_ms(good, 0.99):.1f} | {server:.0%} "
                f"| {server / per_s * 1e6:.0f} | {postgres:.0%} "
                f"| {window.busy_s / window.seconds:.0%} | {core:.0%} |"
            )
            print(lines[-1], flush=True)
        return lines

    def calm(self, seconds: float) -> None:
        """What is usual: the p99 of a tenth of the best."""
        self.loop.drain(PATIENCE_S)
        window = self.loop.run(CALM * self.best_per_s, seconds)
        self.loop.drain(PATIENCE_S)
        self.calm_ms = percentile_ms([one.latency_s for one in window.good()], 0.99)

    @property
    def limit_ms(self) -> float:
        """A p99 beyond it is not usual."""
        return max(_SLOWER * self.calm_ms, self.calm_ms + _SLOWER_MS)

    def under(self, share: float, seconds: float, calm_s: float) -> None:
        """So much of the best, and the calm after it."""
        rate = share * self.best_per_s
        before = self._cpu_s()
        window = self.loop.run(rate, seconds)
        shares = self._shares(before, window.seconds)
        after = self.loop.run(CALM * self.best_per_s, calm_s)
        self.loop.drain(PATIENCE_S)
        recovered = recovered_s(after.outcomes, after.begun, after.ended, self.limit_ms)
        self._note(f"{share:.0%}", rate, window, recovered, shares)

    def without_database(self, before_s: float, after_s: float) -> list[str]:
        """Every process of PostgreSQL is stopped, and continued; a line for each second."""
        pids: list[int] = []
        continued_at = 0.0

        def stop_and_continue(passed_s: float) -> None:
            nonlocal pids, continued_at
            if not pids and passed_s >= before_s:
                pids = processes.tree(self.postgres_pid)
                _signal_all(pids, signal.SIGSTOP)
            elif not continued_at and passed_s >= before_s + STOPPED_S:
                _signal_all(pids, signal.SIGCONT)
                continued_at = time.perf_counter()

        rate = STOPPED_UNDER * self.best_per_s
        before = self._cpu_s()
        try:
            window = self.loop.run(rate, before_s + STOPPED_S + after_s, stop_and_continue)
        finally:
            _signal_all(pids, signal.SIGCONT)
        shares = self._shares(before, window.seconds)
        self.loop.drain(PATIENCE_S)
        recovered = recovered_s(window.outcomes, continued_at, window.ended, self.limit_ms)
        self._note("database stopped, 50%", rate, window, recovered, shares)
        return _seconds(window, before_s)

    def _note(
        self,
        scene: str,
        rate: float,
        window: Window,
        recovered: float,
        shares: tuple[float, float, float],
    ) -> None:
        good = window.good()
        good_s = [one.latency_s for one in good]
        refused_s = [one.latency_s for one in window.refusals()]
        self.rounds.append(
            Round(
                scene,
                rate,
                # Of answers, not of requests: what comes after the window is not its throughput.
                sum(one.due + one.latency_s <= window.ended for one in good) / window.seconds,
                len(refused_s) / window.seconds,
                window.unsent / window.seconds,
                dict(window.others()),
                percentile_ms(good_s, 0.5),
                percentile_ms(good_s, 0.99),
                percentile_ms([one.latency_s for one in good if one.kind != checks.SEND], 0.99),
                percentile_ms(refused_s, 0.5),
                percentile_ms(refused_s, 0.99),
                recovered,
                percentile_ms(window.lags_s, 0.99),
                window.busy_s / window.seconds,
                *shares,
            )
        )
        print(_row(self.rounds[-1], self.best_per_s), flush=True)

    def _cpu_s(self) -> tuple[float, float, float]:
        return (
            processes.cpu_s(self._server_pid),
            processes.cpu_s(self.postgres_pid),
            processes.core_busy_s(LOAD_CORE),
        )

    def _shares(
        self, before: tuple[float, float, float], seconds: float
    ) -> tuple[float, float, float]:
        server, postgres, core = (
            (b - a) / seconds for a, b in zip(before, self._cpu_s(), strict=True)
        )
        return server, postgres, core


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # a process of PostgreSQL that has ended since
            continue


def _seconds(window: Window, before_s: float) -> list[str]:
    """Second by second, from the stop on: what became of the requests that were due then."""
    lines = ["| second | good | 503 | other | p99 of good, ms | p99 of 503, ms |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for second in range(int(window.seconds)):
        found = [one for one in window.outcomes if int(one.due - window.begun) == second]
        good = [one.latency_s for one in found if 200 <= one.status < 300]
        refused = [one.latency_s for one in found if one.status == 503]
        lines.append(
            f"| {second - before_s:+.0f} | {len(good)} | {len(refused)} "
            f"| {len(found) - len(good) - len(refused)} | {percentile_ms(good, 0.99):.0f} "
            f"| {percentile_ms(refused, 0.99):.0f} |"
        )
    return lines


_HEAD = (
    "| load | asked/s | good/s | of the best | 503/s | not sent/s | other | good p50, ms | p99, ms "
    "| reads p99, ms | 503 p50, ms | p99, ms | as before after, s | load's lag p99, ms "
    "| load busy | server busy | server CPU a good answer, µs | PostgreSQL busy | core 1 busy "
    "| valid |",
    "| --- " * 20 + "|",
)


def _row(one: Round, best_per_s: float) -> str:
    others = ", ".join(f"{count} of {status}" for status, count in one.others.items()) or "none"
    return (
        f"| {one.scene} | {one.rate:,.0f} | {one.good_per_s:,.0f} "
        f"| {one.good_per_s / best_per_s:.0%} "
        f"| {one.refused_per_s:,.0f} | {one.unsent_per_s:,.0f} | {others} "
        f"| {one.good_p50_ms:.1f} | {one.good_p99_ms:.1f} | {one.reads_p99_ms:.1f} "
        f"| {one.refused_p50_ms:.0f} | {one.refused_p99_ms:.0f} | {one.recovered_s:.2f} "
        f"| {one.lag_p99_ms:.1f} | {one.load_busy:.0%} | {one.server_busy:.0%} "
        f"| {one.server_busy / one.good_per_s * 1e6:.0f} "
        f"| {one.postgres_busy:.0%} | {one.load_core_busy:.0%} | {'yes' if one.valid else 'NO'} |"
    )


async def prepare(
    url: str, port: int, secret: str
) -> tuple[dict[str, list[Read]], list[Thread], int]:
    """Reads with their right answers, dialogs to write to, PostgreSQL's process id.

    Raises WrongAnswer.
    """
    database = await asyncpg.connect(url)
    postgres_pid = processes.parent(await database.fetchval("SELECT pg_backend_pid()"))
    processes.pin(postgres_pid, LOAD_CORE)
    reads = await checks.reads(database, DISTINCT, random.Random(1), secret)
    sends = await scenarios.sends(database, DIALOGS_WRITTEN, random.Random(2), secret)
    first = scenarios.Sends(sends.threads[:64])
    await checks.everything_once(database, port, reads, first)
    await database.close()
    return reads, sends.threads[64:], postgres_pid


def run(
    options: argparse.Namespace, url: str, port: int, server_pid: int, secret: str
) -> tuple[Stage, list[str]]:
    """All scenes. Raises WrongAnswer."""
    reads, threads, postgres_pid = uvloop.run(prepare(url, port, secret))
    ledger = Ledger()
    # A collection would make the load late by some hundred milliseconds.
    gc.disable()
    # Nor may PostgreSQL, on the same core, make it late. Only root may ask for that.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    loop = OpenLoop(port, CONNECTIONS, mix(reads, threads, ledger, random.Random(3)))
    stage = Stage(loop, server_pid, postgres_pid)
    lines = [
        "| connections | good/s | p50, ms | p99, ms | server busy | server CPU a good answer, µs "
        "| PostgreSQL busy | load busy "
        "| core 1 busy |",
        "| --- " * 9 + "|",
        *stage.capacity(options.seconds / 2),
        "",
    ]
    stage.calm(options.seconds / 2)
    for share in options.loads:
        stage.under(share, options.seconds, calm_s=4.0)
    seconds = stage.without_database(2.0, 6.0) if options.stop else []
    loop.close()
    lines += [*_HEAD, *(_row(one, stage.best_per_s) for one in stage.rounds), "", *seconds, ""]

    async def check() -> str:
        database = await asyncpg.connect(url)
        try:
            ids = [thread.dialog_id for thread in threads]
            return await check_messages(database, ids, ledger)
        finally:
            await database.close()

    return stage, [*lines, uvloop.run(check())]


def main() -> int:
    """Run all scenes, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000, help="seeded if there are none")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one load")
    parser.add_argument(
        "--loads", type=float, nargs="*", default=LOADS, help="of the best, 1 is it"
    )
    parser.add_argument("--no-stop", dest="stop", action="store_false", help="of the database")
    report.add_out(parser, "overload")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    secret = secrets.token_urlsafe(32)
    port = free_port()
    with ExitStack() as stack:
        url = stack.enter_context(seeded(None, users=options.users, means=MEANS))
        redis = stack.enter_context(RedisServer())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "HLFAST_SECRET": secret,
            "HLFAST_WORKERS": "1",
            "HLFAST_HTTP_PORT": str(port),
        }
        ours = CONTENDERS[OURS]
        try:
            pid = stack.enter_context(
                processes.server(
                    ours.argv, environment, port=port, core=SERVER_CORE, log=logs / "log"
                )
            )
            stage, lines = run(options, url, port, pid, secret)
        except (load.WrongAnswer, RuntimeError, OSError) as error:
            print(f"FAILED: {error}\n{(logs / 'log').read_text()[-3000:]}", file=sys.stderr)
            return 1
        facts = report.machine() | uvloop.run(report.database_facts(url))
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in MIX.items())
    method = (
        f"A mix of {shares}. First closed loops, of which the best counts; then an open loop on "
        f"{CONNECTIONS:,} keep-alive connections, Poisson arrivals, {options.seconds:g} s of each "
        f"load and then 4 s of {CALM:.0%} of the best. A request that finds no connection free is "
        f"not sent. One process of the service on core {SERVER_CORE}, PostgreSQL, Redis and load "
        f"on core {LOAD_CORE}. As before: {_CALM_S:g} s without a 503 and with a p99 of each "
        f"{_BIN_S:g} s below {stage.limit_ms:.1f} ms (p99 in the calm: {stage.calm_ms:.1f} ms). "
        "Every answer checked."
    )
    report.write(options.out, facts, method, lines, [asdict(one) for one in stage.rounds])
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
