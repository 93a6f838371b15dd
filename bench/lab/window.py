"""One window: what one arm took to answer one cell in one round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import load, processes
from bench.load import Exchange, Tally, WrongAnswer

# A window goes on until it has seen so many, however slow an arm is.
REQUESTS_MIN = 50


@dataclass(frozen=True, slots=True)
class Window:
    """Figures of one window. CPU times per request in microseconds, shares of one core 0..1.

    `first_half_us` and `second_half_us` show whether the warm-up was over. `others` is what anybody
    else took of the server's core.
    """

    round: int
    arm: str
    workload: str
    population: str
    requests: int
    seconds: float
    cpu_us: float
    first_half_us: float
    second_half_us: float
    database_cpu_us: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    load_busy: float
    others: float

    @property
    def per_s(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds


class Clock:
    """CPU times at the beginning, the middle and the end."""

    def __init__(self, pid: int, database_pid: int | None, core: int | None) -> None:
        self._pids = pid, database_pid
        self._core = core
        self.tally: Tally | None = None
        self.marks: list[tuple[float, float, float, float, float]] = []
        self.middle: tuple[float, int] | None = None

    def mark(self) -> None:
        """Read the counters at either end of the window."""
        server, database = self._pids
        self.marks.append(
            (
                processes.tree_run_s(server),
                processes.tree_run_s(database) if database else 0.0,
                time.process_time(),
                0.0 if self._core is None else processes.core_busy_s(self._core),
                time.perf_counter(),
            )
        )

    def half(self, run: load.Run) -> None:
        """Read the counters in the middle of the window."""
        self.middle = processes.tree_run_s(self._pids[0]), run.tally.requests


async def measure(
    port: int,
    sources: Sequence[Iterator[Exchange]],
    *,
    warm_up_s: float,
    seconds: float,
    clock: Clock,
) -> Tally:
    """After a warm-up, a window of `seconds`, or as long as there are requests.

    Raises WrongAnswer for the first that is not answered rightly.
    """
    loop = asyncio.get_running_loop()
    run = load.Run()
    timer = loop.call_later(warm_up_s + seconds / 2, clock.half, run)
    try:
        tally = await load.measure(
            port,
            sources,
            warm_up_s=warm_up_s,
            seconds=seconds,
            mark=clock.mark,
            run=run,
            requests_min=REQUESTS_MIN,
        )
    finally:
        timer.cancel()
    if not tally.requests:
        raise WrongAnswer("Not one request was answered in a window")
    return tally


def window(
    number: int, arm: str, workload: str, population: str, tally: Tally, clock: Clock, pid: int
) -> Window:
    """The figures of one window."""
    begun, ended = clock.marks
    server_s, database_s, load_s, core_s, seconds = (
        after - before for before, after in zip(begun, ended, strict=True)
    )
    requests = tally.requests
    cpu_us = server_s / requests * 1e6
    first = second = cpu_us
    if clock.middle is not None and 0 < clock.middle[1] < requests:
        first_s, first_requests = clock.middle[0] - begun[0], clock.middle[1]
        first = first_s / first_requests * 1e6
        second = (server_s - first_s) / (requests - first_requests) * 1e6
    return Window(
        round=number,
        arm=arm,
        workload=workload,
        population=population,
        requests=requests,
        seconds=tally.seconds,
        cpu_us=cpu_us,
        first_half_us=first,
        second_half_us=second,
        database_cpu_us=database_s / requests * 1e6,
        p50_ms=tally.percentile_ms(0.5),
        p99_ms=tally.percentile_ms(0.99),
        memory_mb=processes.memory_mb(pid),
        load_busy=load_s / seconds,
        others=max(core_s - server_s, 0.0) / seconds,
    )
