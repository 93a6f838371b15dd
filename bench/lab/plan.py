"""What a run will measure, said beforehand, and how long that takes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from bench.lab.arms import Arm
from bench.lab.cores import Cores
from bench.lab.window import Window
from bench.lab.workloads import Cell
from hl_utils.servers.process import ROOT

# Seconds, about, for what is not measuring: the servers, a user of the population with requests and
# answers, flame graphs, and of each round the start of an arm (on one core) and its end.
SERVERS_S = 10.0
USER_S = 0.003
FLAMES_S = 15.0
ARM_S = 1.6
# Connections of a window are made and, at its end, answered.
WINDOW_S = 0.15


@dataclass(frozen=True, slots=True)
class Plan:
    """Arms by cells by rounds. Times in seconds."""

    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    rounds: int
    seconds: float
    warm_up_s: float
    connections: int
    users: int
    requests_max: int
    seed: int = 1

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.arms) * len(self.cells) * self.rounds

    def in_order(self, windows: Sequence[Window]) -> list[Window]:
        """Round by round in the plan's order, whatever order they were measured in."""
        arms = [one.name for one in self.arms]
        return sorted(
            windows,
            key=lambda one: (
                one.round,
                self.cells.index(Cell(one.workload, one.population)),
                arms.index(one.arm),
            ),
        )

    def takes_s(self, cores: int, rounds_done: int = 0) -> float:
        """About how long it takes."""
        return self._before_s() + (self.rounds - rounds_done) * self._round_s(cores)

    def fitting(self, minutes: float) -> Self:
        """The plan with as many rounds as fit into that time on this machine, one at least."""
        left = minutes * 60 - self._before_s()
        return replace(self, rounds=max(int(left / self._round_s(len(Cores.of_machine().all))), 1))

    def _before_s(self) -> float:
        return SERVERS_S + FLAMES_S + self.users * USER_S

    def _round_s(self, cores: int) -> float:
        starts = len(self.arms) * ARM_S / min(cores, len(self.arms))
        windows = len(self.arms) * len(self.cells) * (self.seconds + self.warm_up_s + WINDOW_S)
        return starts + windows

    def fingerprint(self) -> str:
        """A hash of plan and code: a run can go on where another with the same hash broke off."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256((text + source_state()).encode()).hexdigest()[:16]

    def lines(self, cores: int, rounds_done: int) -> list[str]:
        """The plan as it is printed."""
        cells = ", ".join(f"{one.title}" for one in self.cells)
        each = f"{self.seconds:g} s after {self.warm_up_s:g} s of warm-up"
        found = [
            f"Arms ({len(self.arms)}): {', '.join(one.name for one in self.arms)}.",
            f"Asked for: {cells}.",
            f"{self.rounds} rounds. In each, every arm is started anew; then each is asked for "
            f"{each}, in random order: {self.windows} windows.",
            f"Takes about {duration(self.takes_s(cores, rounds_done))}.",
        ]
        if rounds_done:
            found.insert(3, f"{rounds_done} rounds were measured before: it goes on from there.")
        return found


def source_state() -> str:
    """The commit, and what was changed since; empty where git does not know."""
    words: Sequence[Sequence[str]] = (("rev-parse", "HEAD"), ("diff", "HEAD"))
    found = [
        subprocess.run(
            ["git", "-C", str(ROOT), *each], check=False, capture_output=True, text=True
        ).stdout
        for each in words
    ]
    return "".join(found)


def commit() -> str:
    """Its short name, with a + if anything was changed since."""
    state = source_state()
    return (state[:10] + ("+" if len(state.strip()) > 40 else "")) or "unknown"


def duration(seconds: float) -> str:
    """`4 min 40 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
