"""The rungs of the ladder run, and each kind of service on it answers with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab import catalog, ours, run, workloads
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.keys import COLD
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.workloads import DIALOG, FEED, SEND, USER

# One of each application, and of each way to a connection: the others differ by a server's options.
RUNGS = ("granian", "plain-sql", "pool", "no-dependencies", "plain-asgi", "whole-service")


@pytest.mark.one_database
@pytest.mark.timeout(600)
def test_every_application_of_the_ladder_gives_the_same_bytes(tmp_path: Path) -> None:
    """A wrong answer, or other bytes than another arm gave, would raise WrongAnswer."""
    arms = [one for one in catalog.LADDER if one.name in RUNGS]
    plan = Plan(
        arms=tuple(arms),
        cells=tuple(workloads.cells((USER, FEED, DIALOG, SEND), [COLD])),
        rounds=1,
        seconds=0.05,
        warm_up_s=0.02,
        connections=2,
        users=300,
        requests_max=40,
    )
    cores, progress = Cores.of_machine(), Progress()
    journal = Journal(tmp_path, plan.fingerprint(), plan.rounds, len(plan.arms) * len(plan.cells))
    run.over_http(ours.opened(plan, cores, progress))(plan, cores, journal, progress)
    measured = {(one.arm, one.workload) for one in journal.windows}
    assert measured == {(arm, cell.workload) for arm in RUNGS for cell in plan.cells}
    assert all(one.cpu_us > 0 and one.memory_mb > 1 for one in journal.windows)
