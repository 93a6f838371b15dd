"""Windows of runs that were never made, from known costs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from bench.lab import catalog, findings, methods
from bench.lab.arms import Arm
from bench.lab.plan import Plan
from bench.lab.quiet import Quiet
from bench.lab.results import Results
from bench.lab.window import Window
from bench.lab.workloads import Cell

QUIET = Quiet((0.001, 0.002), 0.0)
FACTS = {
    "date": "2026-11-27 12:00 UTC",
    "machine": "2-core x86_64",
    "kernel": "Linux 6",
    "python": "3.11.7",
    "commit": "0a7dc31",
}


def windows(
    costs_us: Mapping[str, float],
    cells: Sequence[Cell],
    rounds: int,
    noise: float = 0.01,
    seed: int = 1,
) -> list[Window]:
    """Of arms that cost so much. A round's own drift is in all of its arms."""
    chance = random.Random(seed)
    found = []
    for number in range(1, rounds + 1):
        for place, cell in enumerate(cells):
            drift = chance.gauss(1, 0.1)
            for arm, cost in costs_us.items():
                cpu_us = cost * (1 + place) * drift * chance.gauss(1, noise)
                found.append(window(number, arm, cell, cpu_us))
    return found


def window(number: int, arm: str, cell: Cell, cpu_us: float) -> Window:
    """One that shows nothing else but a cost."""
    return Window(
        round=number,
        arm=arm,
        workload=cell.workload,
        population=cell.population,
        requests=1000,
        seconds=cpu_us / 1000,
        cpu_us=cpu_us,
        first_half_us=cpu_us,
        second_half_us=cpu_us,
        database_cpu_us=40,
        p50_ms=1.5,
        p99_ms=4.5,
        memory_mb=80,
        load_busy=0.3,
        others=0.01,
    )


def results(
    costs_us: Mapping[str, float],
    arms: Sequence[Arm],
    cells: Sequence[Cell],
    rounds: int,
    noise: Quiet = QUIET,
) -> Results:
    """What a page shows of them."""
    measured = windows(costs_us, cells, rounds)
    return Results(
        heading="What each method brings",
        facts=FACTS,
        words=("As it was measured.",),
        windows=measured,
        comparisons=findings.comparisons(measured, arms),
        noise=noise,
        rounds=rounds,
        rounds_planned=rounds,
        title_of=methods.title,
    )


def plan() -> Plan:
    """Of every arm."""
    return Plan(tuple(catalog.chosen([], is_quick=False)), (), 1, 1.0, 1.0, 1, 1, 1)


def whole(rounds: int = 6) -> Results:
    """Every arm of the catalogue, each rung a little cheaper than the one below."""
    arms = catalog.chosen([], is_quick=False)
    costs = {}
    cost = 1500.0
    gains = [1.25, 1.3, 1.08, 1.35, 2.2, 0.97, 1.2, 1.0, 1.06, 1.5, 1.3, 1.2, 0.7, 1.1, 1.3, 1.5,
             1.0, 1.02, 1.15]  # fmt: skip
    for arm, gain in zip(catalog.LADDER, [1.0, *gains], strict=False):
        cost /= gain
        costs[arm.name] = cost
    for arm in arms:
        if arm.without is not None and arm.name not in costs:
            costs[arm.name] = costs[arm.without] * (1.12 if arm.is_removal else 1.0)
    cells = [Cell("user", "zipf"), Cell("feed", "zipf")]
    return results(costs, arms, cells, rounds)
