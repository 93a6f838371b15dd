"""What the arms are asked, and what they must answer: the same objects for all of them.

The first answer to a request is held against plain SQL, each later one, of whichever arm, against
those bytes.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench import scenarios
from bench.lab import keys
from bench.load import Exchange
from bench.scenarios import Login, Read, Sends

USER, SEARCH, FEED, DIALOG, SEND, LOGIN, MIX = (
    "user",
    "search",
    "feed",
    "dialog",
    "send",
    "login",
    "mix",
)
TITLES = {
    USER: "a user by id",
    SEARCH: "a search by the beginning of a name",
    FEED: "a page of the feed",
    DIALOG: "a page of a dialog",
    SEND: "a message sent",
    LOGIN: "a login",
    MIX: "a mix",
}
WORKLOADS = tuple(TITLES)
READS = (USER, SEARCH, FEED, DIALOG)
QUICK = (USER, FEED)
# Of 100 requests of a mix.
MIXED = {USER: 40, FEED: 25, DIALOG: 20, SEARCH: 10, SEND: 5}
DIALOGS_WRITTEN = 256
LOGINS = 200
# Searches are found by going through all users for each.
SEARCHES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Cell:
    """A workload and the population of its keys; of those that write, none."""

    workload: str
    population: str

    def __str__(self) -> str:
        return f"{self.workload} {self.population}".strip()

    @property
    def title(self) -> str:
        """The workload in words."""
        title = TITLES.get(self.workload, self.workload)
        return f"{title}, {self.population} keys" if self.population else title


def cells(workloads: Sequence[str], populations: Sequence[str]) -> list[Cell]:
    """Every combination that means something."""
    return [
        Cell(workload, population)
        for workload in workloads
        for population in ([""] if workload in (SEND, LOGIN) else populations)
    ]


class Zipped:
    """A request that allows gzip, and whose answer is compressed where it is worth it."""

    def __init__(self, read: Exchange) -> None:
        self._read = read
        self.data = read.data.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n")

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        self._read.accept(status, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


@dataclass(slots=True)
class Requests:
    """All that can be asked of one database."""

    reads: dict[str, list[Read]]
    sends: Sends | None
    logins: list[Login]

    def sources(
        self,
        cell: Cell,
        connections: int,
        seed: int,
        *,
        warm_up: bool = False,
        wrap: Callable[[Any], Exchange] | None = None,
    ) -> Sequence[Iterator[Exchange]]:
        """One for each connection. Those of reads are one and the same: whoever is free asks."""
        order = keys.warm_up if warm_up else keys.order
        found: Sequence[Iterator[Any]]
        match cell.workload:
            case "send":
                found = self._sends().sources(connections)
            case "login":
                found = [order(self.logins, keys.HOT, seed)] * connections
            case "mix":
                chance = random.Random(seed)
                reads = {name: order(self.reads[name], cell.population, seed) for name in READS}
                found = [
                    _mixed(chance, reads, sends) for sends in self._sends().sources(connections)
                ]
            case name:
                found = [order(self.reads[name], cell.population, seed)] * connections
        return [map(wrap, one) for one in found] if wrap else found

    def _sends(self) -> Sends:
        assert self.sends is not None
        return self.sends


def _mixed(
    chance: random.Random, reads: dict[str, Iterator[Read]], sends: Iterator[Exchange]
) -> Iterator[Exchange]:
    names, weights = list(MIXED), list(MIXED.values())
    sources: dict[str, Iterator[Exchange]] = {**reads, SEND: sends}
    while True:
        for name in chance.choices(names, weights, k=64):
            exchange = next(sources[name], None)
            if exchange is None:
                return
            yield exchange


async def prepare(
    database: asyncpg.Connection, workloads: Sequence[str], count: int, secret: str
) -> Requests:
    """Up to `count` requests of each kind, with their answers. Raises ValueError without any."""
    wanted = set(workloads) | (set(MIXED) if MIX in workloads else set())
    chance = random.Random(1)
    reads: dict[str, list[Read]] = {}
    if USER in wanted:
        reads[USER] = await scenarios.user_by_id(database, count, chance)
    if SEARCH in wanted:
        reads[SEARCH] = await scenarios.search(database, min(count, SEARCHES_MAX), chance)
    if FEED in wanted:
        reads[FEED] = await scenarios.feed(database, count, chance, secret)
    if DIALOG in wanted:
        reads[DIALOG] = await scenarios.dialog_page(database, count, chance, secret)
    for name, found in reads.items():
        if not found:
            raise ValueError(f"The database has nothing for: {name}. Seed more users.")
        # Popularity has nothing to do with ids.
        chance.shuffle(found)
    sends = None
    if SEND in wanted:
        sends = await scenarios.sends(database, DIALOGS_WRITTEN, chance, secret)
    logins = []
    if LOGIN in wanted:
        names = await database.fetch('SELECT username FROM "user" ORDER BY id LIMIT $1', LOGINS)
        logins = [Login(row["username"]) for row in names]
    return Requests(reads, sends, logins)
