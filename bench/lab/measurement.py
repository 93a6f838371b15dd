"""A run from its plan to its windows: what is said before, the noise around it, how it ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.lab import keys, quiet
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.quiet import Quiet
from bench.lab.run import Measuring

_LOOK_WINDOWS = 5
VERDICTS = (
    "A ratio is that of two arms in the same round; its logarithms are averaged. Intervals: "
    "expanded percentiles of the bootstrap. A difference is one if a paired t-test says so "
    "after Holm's correction for all verdicts on the page."
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was measured, and how it ended: 0, 130 when it was broken off, 1 for a failure."""

    journal: Journal
    noise: Quiet
    status: int


def take(plan: Plan, cores: Cores, out: Path, progress: Progress, measuring: Measuring) -> Taken:
    """Measure what the plan says and the journal lacks."""
    a_round = len(plan.arms) * len(plan.cells)
    journal = Journal(out, plan.fingerprint(), plan.rounds, a_round)
    done = len(journal.rounds)
    print("\n".join(plan.lines(len(cores.all), done)), flush=True)
    journal.forget_halves()
    # A short run, as one that only tries a command out, is not to spin longer than it measures.
    look_s = min(quiet.LOOK_S, _LOOK_WINDOWS * plan.seconds)
    looks = [quiet.look(cores.all, look_s)]
    if not looks[0].is_quiet:
        print(f"CROWDED: {looks[0]}. The page will say that it is not to be published.")
    progress.begin((plan.rounds - done) * a_round, plan.takes_s(len(cores.all), done))
    status = 0
    try:
        measuring(plan, cores, journal, progress)
        looks.append(quiet.look(cores.all, look_s))
    except KeyboardInterrupt:
        status = 130
    except (load.WrongAnswer, RuntimeError, OSError) as error:
        progress.end()
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr)
        return Taken(journal, quiet.worst(looks), 1)
    progress.end()
    if status:
        print(f"Broken off. {len(journal.rounds)} rounds are kept: the same line goes on.")
    return Taken(journal, quiet.worst(looks), status)


def sentences(plan: Plan, cores: Cores) -> tuple[str, ...]:
    """Sentences on how it was measured."""
    return (
        f"{plan.rounds} rounds. In each, every arm is started anew, and asked for each workload "
        f"for {plan.seconds:g} s after {plan.warm_up_s:g} s of warm-up, workloads and arms in "
        "random order, by "
        f"{plan.connections} keep-alive connections in a closed loop; {cores}.",
        "CPU is the user and system time of the arm's process tree, from /proc in nanoseconds, "
        "between the two ends of a window, over the requests answered in it. It depends on no "
        "other process, so it comes first; requests per second stand beside it.",
        VERDICTS,
        "Keys: " + "; ".join(f"{name}: {text}" for name, text in keys.MEANINGS.items()) + ".",
    )
