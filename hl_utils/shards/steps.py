"""What a command would do, as data: steps of SQL, moves of shards, and what is said about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hl_utils.shards.cluster import CHANGE, Address


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of change.sql, and what it is for."""

    says: str
    statement: str
    args: tuple[Any, ...] = ()

    @property
    def sql(self) -> str:
        """The statement with its arguments in it, for reading."""

        def literal(match: re.Match[str]) -> str:
            return _literal(self.args[int(match[1]) - 1])

        return re.sub(r"\$(\d+)", literal, CHANGE[self.statement]) + ";"


@dataclass(frozen=True, slots=True)
class Move:
    """A shard that a rebalance takes elsewhere."""

    id: int
    table: str
    bytes: int
    source: Address
    target: Address


@dataclass(frozen=True, slots=True)
class Operation:
    """Steps in their order; `atomic`: all or none. `done` is said where there are none."""

    done: str
    steps: Sequence[Step] = ()
    atomic: bool = False
    moves: Sequence[Move] = ()
    warnings: Sequence[str] = ()
    # A rebalance runs on by itself and is followed to its end; or to the one that was asked for.
    follow: bool = False
    until_stopped: bool = False
    # Messages may have to wait for it: how long is measured, and said.
    stalls: bool = False
    # Said at the end.
    hints: Sequence[str] = field(default=())
    # Afterwards it is waited for so long: until no process asks the node any more.
    settle_s: float = 0
    # What nobody should do by mistake needs a word of its own.
    needs_yes: bool = False


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(map(_literal, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
