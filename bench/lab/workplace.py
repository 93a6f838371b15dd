"""What the rounds of a run need, whoever's service it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import asyncpg

from bench.lab.workloads import Cell
from bench.load import Exchange
from bench.scenarios import Sends


class Requests(Protocol):
    """What can be asked."""

    # Messages that are written, which the database is held against.
    sends: Sends | None

    def sources(
        self,
        cell: Cell,
        connections: int,
        seed: int,
        *,
        warm_up: bool = False,
        wrap: Callable[[Any], Exchange] | None = None,
    ) -> Sequence[Iterator[Exchange]]:
        """One for each connection."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """`urls`: the database's, by TCP (False) and by its socket (True)."""

    requests: Requests
    environment: Mapping[str, str]
    urls: Mapping[bool, str] = field(default_factory=dict)
    database: asyncpg.Connection | None = None
    database_pid: int | None = None


Opened = AbstractAsyncContextManager[Workplace]
