"""Where a value lies on a bar's axis, and which plain numbers stand below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_STEPS = (1, 2, 5)
# Gains in percent at which a tick may stand.
_GAINS = (
    -90, -80, -50, -30, -20, -10, -5, -2, 0, 2, 5, 10, 20, 30, 50, 100, 200, 400, 900, 1900, 4900,
)  # fmt: skip
_TICKS_MAX = 6
_ROOM = 0.04


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis in logarithms, so that the same ratio is as long everywhere. `ticks`: place, text."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """The position of a value on the logarithmic scale, in percent of the width."""
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    @classmethod
    def of_costs(cls, microseconds: Sequence[float]) -> Self:
        """For costs of requests, 1, 2, 5, 10, … µs below."""
        low, high = _span([math.log(one) for one in microseconds])
        powers = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        numbers = [step * 10.0**power for power in powers for step in _STEPS]
        ticks = [(math.log(one), f"{one:,g}") for one in numbers if low <= math.log(one) <= high]
        return cls._of(low, high, ticks)

    @classmethod
    def of_gains(cls, log_ratios: Sequence[float]) -> Self:
        """For gains, which are log ratios; 0 is among them."""
        low, high = _span([0.0, *log_ratios])
        ticks = [
            (math.log1p(one / 100), f"{one:+d} %".replace("-", "−").replace("+0", "0"))
            for one in _GAINS
            if low <= math.log1p(one / 100) <= high
        ]
        return cls._of(low, high, ticks)

    @classmethod
    def _of(cls, low: float, high: float, ticks: list[tuple[float, str]]) -> Self:
        """With ticks that do not touch each other: 0 stays where it is one."""
        scale = cls(low, high, ())
        chosen: list[tuple[float, str]] = []
        for value, text in sorted(ticks, key=lambda one: (one[1] != "0 %", one[0])):
            place = scale.place(value)
            apart = all(abs(place - other) >= 100 / (_TICKS_MAX + 1) for other, _ in chosen)
            if apart:
                chosen.append((place, text))
        return cls(low, high, tuple(sorted(chosen)))


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # At least a few percent, so that nothing looks large.
    missing = max(0.1 - (high - low), 0.0) / 2
    room = (high - low + 2 * missing) * _ROOM
    return low - missing - room, high + missing + room
