"""Which keys are asked for, in which order: three populations of the same requests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle
from typing import TypeVar

T = TypeVar("T")
COLD, ZIPF, HOT = "cold", "zipf", "hot"
POPULATIONS = (COLD, ZIPF, HOT)
MEANINGS = {
    COLD: "each asked once by a process",
    ZIPF: "as popular as Zipf has it, s = 0.99, over all",
    HOT: "1,000 keys in turn",
}
ZIPF_S = 0.99
HOT_KEYS = 1000
_DRAWN_AT_ONCE = 1024


def order(found: Sequence[T], population: str, seed: int) -> Iterator[T]:
    """The requests of one window: the same for each arm of a round. Only `cold` ends.

    The order of `found` is that of popularity.
    """
    chance = random.Random(seed)
    match population:
        case "cold":
            return iter(chance.sample(found[_warm(found) :], len(found) - _warm(found)))
        case "zipf":
            return _zipf(found, chance)
        case _:
            # Each window begins elsewhere.
            hot = found[:HOT_KEYS]
            start = chance.randrange(len(hot))
            return cycle([*hot[start:], *hot[:start]])


def warm_up(found: Sequence[T], population: str, seed: int) -> Iterator[T]:
    """What is asked before the window. For `cold` a few that the window does not ask for."""
    if population == COLD:
        return cycle(found[: _warm(found)])
    return order(found, population, ~seed)


def _warm(found: Sequence[T]) -> int:
    return max(len(found) // 20, 1) if len(found) > 1 else 0


def _zipf(found: Sequence[T], chance: random.Random) -> Iterator[T]:
    weights = list(accumulate(1 / rank**ZIPF_S for rank in range(1, len(found) + 1)))
    while True:
        yield from chance.choices(found, cum_weights=weights, k=_DRAWN_AT_ONCE)
