"""What the people of one process share: the stars, who is known, what was sent when."""

from __future__ import annotations

import heapq
import itertools
import random
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gevent.lock import RLock

T = TypeVar("T")
# Same for every account of every run: a later run logs in where an earlier one has registered.
PASSWORD = "a swarm's password, and nobody else's"
STAR_NAME = ("Lady", "Gaga")
# From the most common one on.
FIRST_NAMES = (
    *("Maria", "José", "Anna", "Mohammed", "Ivan", "Yuki", "Li", "Olga", "Ahmed", "Emma"),
    *("Noah", "Fatima", "João", "Sofía", "Björn", "Zoë", "Иван", "Мария", "Αλέξης", "美咲"),
)
LAST_NAMES = (
    *("Smith", "Wang", "García", "Müller", "Silva", "Kumar", "Nguyen", "Ivanov", "Kim", "Rossi"),
    *("Martin", "Jansen", "Öztürk", "Petrov", "O'Neill", "Иванов", "Παππάς", "佐藤"),
)
_KNOWN_MAX = 10_000
_DEPARTURES_MAX = 50_000


def by_rank(things: Sequence[T], chance: random.Random) -> T:
    """One of them, about by Zipf's law: the one of rank k is k times as rare as the first."""
    return things[int((len(things) + 1) ** chance.random()) - 1]


@dataclass(slots=True, eq=False)
class Account:
    """Somebody who can log in. `renew_at` is on the monotonic clock."""

    username: str
    first_name: str
    last_name: str
    id: int = 0
    token: str = ""
    refresh_token: str = ""
    renew_at: float = 0.0


class Town:
    """One for each process. Nothing is asked of the service here."""

    def __init__(self) -> None:
        self.stars: list[Account] = []
        self.arrival = RLock()
        # Ids of users, whoever was met first at the top: they will have the largest audience.
        self.known: list[int] = []
        self._met: set[int] = set()
        self._slots: list[int] = []
        self._next_slot = itertools.count()
        self._prefix = ""
        self._keys = itertools.count(1)
        self._departures: OrderedDict[str, float] = OrderedDict()

    def take_slot(self) -> int:
        """The smallest number that nobody has, so that a later run has the same accounts."""
        return heapq.heappop(self._slots) if self._slots else next(self._next_slot)

    def leave_slot(self, slot: int) -> None:
        """Somebody else may have it."""
        heapq.heappush(self._slots, slot)

    def meet(self, id_: int) -> None:
        """Whom everybody of this process may write to from now on."""
        if id_ not in self._met and len(self.known) < _KNOWN_MAX:
            self._met.add(id_)
            self.known.append(id_)

    def is_star(self, id_: int) -> bool:
        """Whether the whole town follows them."""
        return any(star.id == id_ for star in self.stars)

    def depart(self) -> str:
        """A key for something that is sent now; its text ends with it."""
        # Not before: workers are forks of the process that imports this.
        self._prefix = self._prefix or secrets.token_hex(4)
        key = f"{self._prefix}-{next(self._keys)}"
        self._departures[key] = time.perf_counter()
        if len(self._departures) > _DEPARTURES_MAX:
            self._departures.popitem(last=False)
        return key

    def departed_at(self, key: str) -> float | None:
        """When, on the performance counter; None if this process did not send it."""
        return self._departures.get(key)


TOWN = Town()
