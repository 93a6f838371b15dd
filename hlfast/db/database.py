"""The narrow protocol that the service knows a database by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, overload


class Row(Protocol):
    """One row: columns by name or position, in the order of the statement."""

    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


class Load(Protocol):
    """What a pool has to do, for who measures. Counts are since the start."""

    # Called whenever a connection was opened: the server may be another one than before.
    renewed: Callable[[], None]

    @property
    def waits(self) -> int:
        """Statements that had to wait for a connection and got one."""

    @property
    def waited_s(self) -> float:
        """How long they waited in all, in seconds."""

    @property
    def in_use(self) -> int:
        """The number of connections at work."""

    @property
    def queued(self) -> int:
        """Statements that wait for a connection."""


class KeyTaken(Exception):
    """What was to be written has a unique key that is there already; nothing was."""


class Database(Protocol):
    """A pool of connections that runs the named statements of `sql/`.

    Each call is one statement, one round trip and one transaction. What must be more than a
    statement is a function in the database. All raise errors.Unavailable when the database does
    not answer, is not reached in time, or too many wait already; whether a write was done is
    then unknown. Raises KeyTaken for a row that cannot be written twice.
    """

    load: Load

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement."""

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
