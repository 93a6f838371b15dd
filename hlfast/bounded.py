"""A dictionary that is never larger than it may be: what nobody uses is evicted."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# Used entries that one eviction passes. If all of them were, the newest entry goes instead, and the
# next eviction looks on from there.
_SPARED_MAX = 64


class Entry(Generic[V]):
    """A value, or None after it was taken away. Whoever reads it sets `is_used`."""

    __slots__ = ("is_used", "value", "weight")

    def __init__(self, value: V, weight: int) -> None:
        self.value: V | None = value
        self.weight = weight
        self.is_used = False


class Bounded(Generic[K, V]):
    """Values by key; together they weigh `weight_max` at most.

    Evicted is what was not used since the last look at it, by SIEVE (Zhang et al., NSDI 2024): a
    hand goes from the oldest entry to the newest, spares what was used, and begins anew at the end.
    So a walk over everything displaces its own entries only. A put costs the same however
    much is here: entries before the hand and those behind it are two queues, and of a dictionary
    nothing but single keys is asked for (`next(iter(…))` passes all that was deleted before).

    `entries` may be read directly where every nanosecond counts: set `is_used` then.
    """

    def __init__(self, weight_max: int) -> None:
        self.weight_max = weight_max
        self.weight = 0
        self.entries: dict[K, Entry[V]] = {}
        # Each key of `entries` once. A key that is taken away stays until its turn.
        self._ahead: deque[K] = deque()
        self._passed: deque[K] = deque()

    def get(self, key: K) -> V | None:
        """The value, which is thereby used."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        entry.is_used = True
        return entry.value

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Set a value; one that is heavier than all may be is dropped."""
        entry = self.entries.get(key)
        if weight > self.weight_max:
            if entry is not None:
                self.pop(key)
            return
        if entry is None:
            # First, or what is new could be what has to go.
            self._evict_for(weight)
            self.entries[key] = Entry(value, weight)
            self._ahead.append(key)
            self.weight += weight
        else:
            self.weight += weight - entry.weight
            entry.value, entry.weight, entry.is_used = value, weight, True
            self._evict_for(0)

    def pop(self, key: K) -> None:
        """Take a value away. What is left weighs 1, so that there is an end of those."""
        entry = self.entries.get(key)
        if entry is not None:
            self.weight -= entry.weight - 1
            entry.value, entry.weight, entry.is_used = None, 1, False

    def clear(self) -> None:
        """Take all values away."""
        self.entries.clear()
        self._ahead.clear()
        self._passed.clear()
        self.weight = 0

    def _evict_for(self, weight: int) -> None:
        while self.weight + weight > self.weight_max:
            self._evict()

    def _evict(self) -> None:
        """Take one value away: the oldest that was not used."""
        for _ in range(_SPARED_MAX):
            if not self._ahead:
                self._ahead, self._passed = self._passed, self._ahead
            key = self._ahead.popleft()
            entry = self.entries[key]
            if not entry.is_used:
                self._forget(key)
                return
            entry.is_used = False
            self._passed.append(key)
        self._forget((self._ahead or self._passed).pop())

    def _forget(self, key: K) -> None:
        self.weight -= self.entries.pop(key).weight
