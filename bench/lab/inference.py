"""What paired log ratios say: an estimate, its interval, and verdicts corrected for their number.

A log ratio is ln(what a request costs without the method / what it costs with it), measured by two
neighbours in one round. Rounds start their processes anew, so they do not depend on each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95
# An effect as large as the one that a verdict names would have been seen with this chance.
POWER = 0.9
RESAMPLES = 2000
# Ten times as many requests for the same CPU: beyond, a verdict names no effect that it would see.
SEEABLE_MAX = math.log(10)
# With fewer no spread is known.
ROUNDS_MIN = 3
_NORMAL = NormalDist()
# Far beyond what any of the quantiles asked for here needs.
_T_MAX = 1e7
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """What a method brings, in log ratios: 0 is nothing, more is better.

    `p` is of a paired t-test; `spread` the standard error of the mean.
    """

    mean: float
    low: float
    high: float
    spread: float
    p: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """An effect, held against all others of the page. `p` is Holm's.

    `seeable`: the smallest effect that would have been seen with POWER.
    """

    effect: Effect
    p: float
    seeable: float

    @property
    def is_seen(self) -> bool:
        """Whether there is an effect, surely."""
        sides = self.effect.low > 0 or self.effect.high < 0
        return self.p < 1 - CONFIDENCE and sides

    def __str__(self) -> str:
        if self.is_seen:
            one = self.effect
            return f"{percent(one.mean)} % [{bare(one.low)}, {bare(one.high)}]"
        if self.seeable > SEEABLE_MAX:
            return "no difference seen, in too much noise to see any"
        return f"no difference seen, one above {bare(self.seeable)} % would have been"


def gain(log_ratio: float) -> float:
    """How many more requests the same CPU answers, in percent."""
    return math.expm1(min(log_ratio, 700)) * 100


def percent(log_ratio: float) -> str:
    """The gain with its sign: `+38`, `−2.1`."""
    value = gain(log_ratio)
    return ("+" if value >= 0 else "") + bare(log_ratio)


def bare(log_ratio: float) -> str:
    """The gain with as many digits as mean anything."""
    value = gain(log_ratio)
    text = f"{value:,.0f}" if abs(value) >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text.replace("-", "−")


def effect(ratios: Sequence[float], seed: int = 1, resamples: int = RESAMPLES) -> Effect:
    """From one log ratio a round. Raises ValueError for less than ROUNDS_MIN."""
    rounds = len(ratios)
    if rounds < ROUNDS_MIN:
        raise ValueError(f"{rounds} rounds are too few: {ROUNDS_MIN} or more")
    mean, deviation = fmean(ratios), stdev(ratios)
    spread = deviation / math.sqrt(rounds)
    low, high = bootstrap(ratios, seed, resamples)
    p = 2 * (1 - t_below(abs(mean) / spread, rounds - 1)) if spread else float(mean == 0)
    return Effect(mean, low, high, spread, p, rounds)


def bootstrap(
    ratios: Sequence[float], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The interval that holds the mean with CONFIDENCE.

    Percentiles of the means of resamples, further out than 2.5 and 97.5: those of few values come
    out too narrow, as a sample's own spread is smaller than what it was taken from (Hesterberg,
    What Teachers Should Know About the Bootstrap, 2015, section 3.3: expanded percentiles).
    """
    rounds = len(ratios)
    chance = random.Random(seed)  # reproducible: the same rounds have the same interval
    sums = sorted(math.fsum(chance.choices(ratios, k=rounds)) for _ in range(resamples))
    out = t_quantile((1 + CONFIDENCE) / 2, rounds - 1) * math.sqrt(rounds / (rounds - 1))
    beyond = max(1 - _NORMAL.cdf(out), 1 / (2 * resamples))
    left_out = int(beyond * resamples)
    return sums[left_out] / rounds, sums[-1 - left_out] / rounds


def verdicts(effects: Sequence[Effect]) -> list[Verdict]:
    """Each effect beside all others of the page, by Holm's method.

    At most one page in twenty on which nothing differs then shows any difference.
    """
    count = len(effects)
    order = sorted(range(count), key=lambda n: effects[n].p)
    corrected = [1.0] * count
    worst = 0.0
    for place, n in enumerate(order):
        worst = max(worst, min(1.0, (count - place) * effects[n].p))
        corrected[n] = worst
    # What the next one on Holm's ladder would have had to pass.
    seen = sum(p < 1 - CONFIDENCE for p in corrected)
    level = (1 - CONFIDENCE) / max(count - seen, 1)
    return [
        Verdict(one, corrected[n], _seeable(one, level) if corrected[n] >= 1 - CONFIDENCE else 0.0)
        for n, one in enumerate(effects)
    ]


def _seeable(one: Effect, level: float) -> float:
    freedom = one.rounds - 1
    needed = t_quantile(1 - level / 2, freedom) + t_quantile(POWER, freedom)
    return needed * one.spread


@cache
def t_quantile(share: float, freedom: int) -> float:
    """What Student's t stays below with this chance (0.5..1)."""
    low, high = 0.0, _T_MAX
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if t_below(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return high


def t_below(t: float, freedom: int) -> float:
    """The chance that Student's t is below `t`, which is 0 or more."""
    return 1 - _beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Lentz's continued fraction)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for n in range(1, _STEPS):
        for term in (
            n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n)),
            -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value / a
