"""Requests of a file, answered by the first arm, and held against that with every other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench import load
from bench.lab import keys
from bench.lab.arms import Running
from bench.lab.requests_file import Asked
from bench.lab.workloads import Cell
from bench.load import Exchange, WrongAnswer
from bench.scenarios import Sends

# Asked so often before the first round: what differs by then is not compared.
_TIMES = 3


class Recorded:
    """A request, the status that it was answered with, and the body if that is always the same."""

    def __init__(self, asked: Asked) -> None:
        self.name = asked.name
        self.data = asked.data
        self.status = 0
        self.bodies: set[bytes] = set()
        self.is_recording = True

    @property
    def is_stable(self) -> bool:
        """Whether its body is compared."""
        return len(self.bodies) == 1

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer, or learn it. Raises WrongAnswer."""
        if self.is_recording:
            if self.status not in (0, status):
                raise WrongAnswer(f"{self.name}: {self.status} at first and then {status}")
            self.status = status
            self.bodies.add(body)
        elif status != self.status:
            raise WrongAnswer(f"{self.name}: {status}, where the first arm had {self.status}")
        elif self.is_stable and body not in self.bodies:
            raise WrongAnswer(f"{self.name}: other bytes than from the first arm: {body[:300]!r}")


class RecordedRequests:
    """All of them in turn, by every connection together."""

    sends: Sends | None = None

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.all = [Recorded(one) for one in asked]

    async def record(self, running: Running) -> None:
        """Learn the answers. Raises WrongAnswer for one that comes from a fault."""
        for _ in range(_TIMES):
            await load.exhaust(running.port, [iter(self.all)])
        for one in self.all:
            one.is_recording = False
            if one.status >= 500:
                raise WrongAnswer(f"{one.name} is answered {one.status}: mend that first")

    def sources(
        self,
        cell: Cell,
        connections: int,
        seed: int,
        *,
        warm_up: bool = False,
        wrap: Callable[[Any], Exchange] | None = None,
    ) -> Sequence[Iterator[Exchange]]:
        """One and the same for each connection: whoever is free asks the next."""
        order = keys.warm_up if warm_up else keys.order
        found: Iterator[Exchange] = order(self.all, keys.HOT, seed)
        return [found] * connections
