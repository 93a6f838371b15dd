"""Whether a machine is quiet enough for figures: an idle loop, the same work again, and steal."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

# A pass of the loop takes some 0.1 µs; one that takes so long was interrupted.
_GAP_S = 50e-6
LOOK_S = 3.0
# Beyond, a page is not to be published.
LOST_MAX = 0.02
STEAL_MAX = 0.01
UNEVEN_MAX = 0.15
# A piece of work takes some 2 ms.
_WORK = 40_000
_RUNS_MIN = 20


@dataclass(frozen=True, slots=True)
class Quiet:
    """Shares, 0..1: of the time that a loop lost on each core, and that the host took from all.

    `uneven`: by how much of its CPU time a piece of work takes longer in the slowest tenth of its
    runs than in the fastest one, on each core. Another machine on the same physical core takes no
    time from this one, and makes all that it does slower.
    """

    lost: tuple[float, ...]
    steal: float
    uneven: tuple[float, ...] = ()

    @property
    def is_quiet(self) -> bool:
        """Whether figures may be published."""
        is_even = max(self.uneven, default=0) <= UNEVEN_MAX
        return max(self.lost) <= LOST_MAX and self.steal <= STEAL_MAX and is_even

    def __str__(self) -> str:
        lost = ", ".join(f"{share:.1%}" for share in self.lost)
        said = f"an idle loop lost {lost} of its time on the cores, the host took {self.steal:.1%}"
        if self.uneven:
            uneven = ", ".join(f"{share:.0%}" for share in self.uneven)
            said += f", the same work took {uneven} more CPU time at one moment than at another"
        return said


def look(cores: Sequence[int], seconds: float = LOOK_S) -> Quiet:
    """A loop and pieces of work on each core, one after another, each for half of the time."""
    before = _ticks()
    each = seconds / len(cores) / 2
    lost = [_lost(core, each) for core in cores]
    uneven = [_uneven(core, each) for core in cores]
    after = _ticks()
    total = sum(after) - sum(before)
    steal = (after[7] - before[7]) / total if total else 0.0
    return Quiet(tuple(lost), steal, tuple(uneven))


def of(document: Mapping[str, Any]) -> Quiet:
    """The noise that a report has written down."""
    return Quiet(tuple(document["lost"]), document["steal"], tuple(document.get("uneven", ())))


def worst(found: Sequence[Quiet]) -> Quiet:
    """The worst of several looks at the machine, core by core."""
    lost, uneven = (
        tuple(max(each) for each in zip(*shares, strict=True))
        for shares in ([one.lost for one in found], [one.uneven for one in found])
    )
    return Quiet(lost, max(one.steal for one in found), uneven)


def _lost(core: int, seconds: float) -> float:
    """The share of the time in which the loop did not run."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        clock = time.perf_counter
        begun = last = clock()
        lost = 0.0
        while last - begun < seconds:
            now = clock()
            if now - last > _GAP_S:
                lost += now - last
            last = now
        return lost / (last - begun)
    finally:
        os.sched_setaffinity(0, allowed)


def _uneven(core: int, seconds: float) -> float:
    """How much longer the slowest tenth of the runs takes than the fastest one, at least."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        took = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(took) < _RUNS_MIN:
            begun = time.thread_time()
            sum(map(pow, range(_WORK), repeat(2)))
            took.append(time.thread_time() - begun)
    finally:
        os.sched_setaffinity(0, allowed)
    took.sort()
    return took[len(took) * 9 // 10] / took[len(took) // 10] - 1


def _ticks() -> list[int]:
    return list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
