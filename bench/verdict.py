"""Did it get slower? What the ratios of neighbouring rounds say about it, and how surely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

from bench.report import Round, neighbours

CONFIDENCE = 0.95
# With fewer, not even their whole range is wide enough to be so sure.
ROUNDS_MIN = 6
SLOWER, FASTER, NOTHING_SEEN = "slower", "faster", "no difference seen"
# Of each of them, more is worse. The time per request is what requests per second are one over.
COSTS: Mapping[str, Callable[[Round], float]] = {
    "server CPU per request": lambda one: one.server_cpu_us,
    "time per request": lambda one: 1 / one.requests_per_s,
    "p99": lambda one: one.p99_ms,
}
CAPTION = (
    "Did it get slower? Cost by cost, more is worse: median of the ratios of neighbouring rounds "
    f"({CONFIDENCE:.0%} interval by the sign test); bold when worse beyond the threshold."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """This tree's cost divided by the other's: the median, and the interval that it is sure in."""

    median: float
    low: float
    high: float
    worse_than: float

    @classmethod
    def of(cls, ratios: Sequence[float], worse_than: float) -> Verdict:
        """From one ratio a round; beyond `worse_than` (1.05 is 5 % more) it is too much.

        Raises ValueError for less than ROUNDS_MIN.
        """
        return cls(median(ratios), *interval(ratios), worse_than)

    @property
    def word(self) -> str:
        """The verdict in a word."""
        if self.low > 1:
            return SLOWER
        return FASTER if self.high < 1 else NOTHING_SEEN

    @property
    def is_worse(self) -> bool:
        """Slower beyond the threshold, with confidence."""
        return self.low > self.worse_than

    def __str__(self) -> str:
        word = f"**{self.word}**" if self.is_worse else self.word
        return f"{word} {self.median:.3f} ({self.low:.3f}..{self.high:.3f})"


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """The narrowest interval that holds the median with CONFIDENCE, by the sign test.

    Its ends are two of the ratios: as many are left out at either end as the sign test allows. It
    assumes nothing but that rounds do not depend on each other. Raises ValueError for less than
    ROUNDS_MIN.
    """
    ordered = sorted(ratios)
    rounds = len(ordered)
    if rounds < ROUNDS_MIN:
        raise ValueError(f"{rounds} rounds are too few for a verdict: {ROUNDS_MIN} or more")
    left_out = 0
    # The chance that the median is beyond one end, if one more is left out there.
    beyond = (1 + rounds) / 2**rounds
    while beyond <= (1 - CONFIDENCE) / 2:
        left_out += 1
        beyond += comb(rounds, left_out + 1) / 2**rounds
    return ordered[left_out], ordered[-1 - left_out]


def of_rounds(
    rounds: Sequence[Round], ours: str, against: str, worse_than: float
) -> dict[str, dict[str, Verdict]]:
    """The verdict on each of COSTS, by scenario and keys."""
    found = {}
    for label in dict.fromkeys(one.label for one in rounds if one.server == against):
        pairs = neighbours(rounds, ours, against, label)
        found[label] = {
            name: Verdict.of([cost(mine) / cost(theirs) for mine, theirs in pairs], worse_than)
            for name, cost in COSTS.items()
        }
    return found


def table(found: Mapping[str, Mapping[str, Verdict]], ours: str, against: str) -> list[str]:
    """A row a scenario; what is worse beyond the threshold is bold."""
    return [
        f"| {ours} / {against} | {' | '.join(COSTS)} |",
        "| --- |" + " --- |" * len(COSTS),
        *[
            f"| {scenario} | {' | '.join(map(str, verdicts.values()))} |"
            for scenario, verdicts in found.items()
        ],
    ]
