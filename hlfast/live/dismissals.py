"""Connections that are closed as soon as they are open, and linger until read."""

from __future__ import annotations

from collections import OrderedDict

from hlfast.live.metrics import Counts
from hlfast.websocket.connection import Connection
from hlfast.websocket.outflow import Outflow
from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue


class Dismissals:
    """Dismissed connections whose clients have not hung up; of too many the oldest is cut.

    They are none of the node's sockets: whoever has no good token takes nothing from others.
    """

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._connections: OrderedDict[Outflow, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Outflow, code: int, reason: str) -> None:
        """Close a connection. Its client has the limits' `close_timeout_s` to answer."""
        if not connection.is_open:
            return
        connection.close(code, reason)
        self._connections[connection] = None
        if len(self._connections) > self._connections_max:
            oldest, _ = self._connections.popitem(last=False)
            oldest.abort()

    def discard(self, connection: Outflow) -> None:
        """A connection is gone, dismissed or not."""
        self._connections.pop(connection, None)


class Dismissed(Connection):
    """A connection whose token is not good: it gets 1008 and the reason, and nothing else."""

    __slots__ = ("_counts", "_dismissals", "_reason")

    def __init__(
        self, writes: WriteQueue, dismissals: Dismissals, counts: Counts, reason: str
    ) -> None:
        super().__init__(writes)
        self._dismissals = dismissals
        self._counts = counts
        self._reason = reason

    def on_open(self) -> None:
        self._dismissals.add(self, CloseCode.POLICY, self._reason)

    def on_closed(self, code: int, reason: str) -> None:
        self._dismissals.discard(self)
        self._counts.closes[code] += 1
