"""Merging: of many events of one kind in a short time, the latest stands for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from hlfast.events.outbox_row import OutboxRow


@dataclass(slots=True)
class _Window:
    """Events of one kind in a window of time, and the row that is published at its end."""

    count: int = 1
    held: OutboxRow | None = None


class Merging:
    """Holds back all but the first events of a kind in a window of time, and of those all but one.

    A held event's row stays in the outbox: if this process dies, the sweeper publishes it.
    """

    def __init__(
        self, publish: Callable[[OutboxRow], None], events_max: int, window_s: float
    ) -> None:
        self._publish = publish
        self._events_max = events_max
        self._window_s = window_s
        # In the order of their ends.
        self._windows: dict[Hashable, _Window] = {}
        # The kinds of those that are held, by their rows.
        self.held: dict[tuple[int, int], Hashable] = {}

    def superseded_by(self, row: OutboxRow) -> Sequence[OutboxRow]:
        """The held rows whose events say nothing any more, because of this one."""
        kinds = (
            {row.merges} | {self.held.get(identity) for identity in row.after} if self.held else ()
        )
        found = []
        for kind in kinds:
            window = self._windows.get(kind)
            if kind is not None and window is not None and window.held is not None:
                found.append(window.held)
                del self.held[window.held.identity]
                window.held = None
        return found

    def holds(self, row: OutboxRow) -> bool:
        """Whether its event is published later, if at all."""
        kind = row.merges
        if kind is None:
            return False
        window = self._windows.get(kind)
        if window is None:
            self._open(kind, _Window())
            return False
        if window.count < self._events_max:
            window.count += 1
            return False
        window.held = row
        self.held[row.identity] = kind
        return True

    def close(self) -> None:
        """Publish everything that is held."""
        for kind in list(self._windows):
            self._end(kind)

    def _open(self, kind: Hashable, window: _Window) -> None:
        self._windows[kind] = window
        asyncio.get_running_loop().call_later(self._window_s, self._end, kind)

    def _end(self, kind: Hashable) -> None:
        window = self._windows.pop(kind, None)
        if window is None or window.held is None:
            return
        del self.held[window.held.identity]
        # A pair that goes on so has one event a window.
        self._open(kind, _Window(self._events_max))
        self._publish(window.held)
