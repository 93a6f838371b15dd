"""Whether a machine is quiet enough for figures: what idle loops lose on its cores, and steal."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A pass of the loop takes some 0.1 µs; one that takes so long was interrupted.
_GAP_S = 50e-6
LOOK_S = 3.0
# Beyond, a page is not to be published.
LOST_MAX = 0.02
STEAL_MAX = 0.01


@dataclass(frozen=True, slots=True)
class Quiet:
    """Shares of the time, 0..1: what a loop lost on each core, and what the host took from all."""

    lost: tuple[float, ...]
    steal: float

    @property
    def is_quiet(self) -> bool:
        """Whether figures may be published."""
        return max(self.lost) <= LOST_MAX and self.steal <= STEAL_MAX

    def __str__(self) -> str:
        lost = ", ".join(f"{share:.1%}" for share in self.lost)
        return f"an idle loop lost {lost} of its time on the cores, the host took {self.steal:.1%}"


def look(cores: Sequence[int], seconds: float = LOOK_S) -> Quiet:
    """A loop on each core, one after another."""
    before = _ticks()
    lost = [_lost(core, seconds / len(cores)) for core in cores]
    after = _ticks()
    total = sum(after) - sum(before)
    steal = (after[7] - before[7]) / total if total else 0.0
    return Quiet(tuple(lost), steal)


def of(document: Mapping[str, Any]) -> Quiet:
    """The noise that a report has written down."""
    return Quiet(tuple(document["lost"]), document["steal"])


def worst(found: Sequence[Quiet]) -> Quiet:
    """The worst of several looks at the machine, core by core."""
    lost = tuple(max(each) for each in zip(*(one.lost for one in found), strict=True))
    return Quiet(lost, max(one.steal for one in found))


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


def _ticks() -> list[int]:
    return list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
