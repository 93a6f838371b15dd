"""A row of an outbox, and the event that it stands for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from hlfast.db.database import Row

# The type of an event that says nothing any more. It is published all the same: by its id readers
# know a late one of a process that had been given up, and pass it over.
VOID = "void"


class OutboxRow(NamedTuple):
    """A row of an outbox and the event that it stands for.

    `key`: the author or the dialog, whose events are published in their order. `after`: the rows,
    as keys and ids, that were still there when this one was written and are published before it.
    `merges`: events of the same value are of one kind, of which many in a short time are merged
    into the latest; None for an event that is published each time.
    """

    key: int
    id: int
    after: Sequence[tuple[int, int]]
    event: Mapping[str, Any]
    merges: Hashable = None

    @property
    def identity(self) -> tuple[int, int]:
        """Key and id: which row of the table it is."""
        return self.key, self.id


def rows_before(row: Row) -> Sequence[tuple[int, int]]:
    """`OutboxRow.after` from the columns `after_users` and `after_ids`."""
    return tuple(zip(row["after_users"] or (), row["after_ids"] or (), strict=True))
