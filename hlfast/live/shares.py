"""How many of a node's connections one user may have."""

from __future__ import annotations

import time
from collections import Counter

from hlfast.live.session import Session
from hlfast.live.subscriptions import Subscriber, Subscriptions
from hlfast.websocket.wire import CloseCode

# Between two looks through all users for whoever has most, for each of them: a full node is asked
# often, and a look takes a tenth of that.
_LOOK_PAUSE_S = 1e-6


class Shares:
    """A user's bound, and on a full node a share: whoever has most gives way to who has less."""

    def __init__(self, subscriptions: Subscriptions, user_connections_max: int) -> None:
        self._subscriptions = subscriptions
        self._user_connections_max = user_connections_max
        # Sessions by user that are open and wait for their first frame.
        self._entering: Counter[int] = Counter()
        self._heaviest: Subscriber | None = None
        self._looked_at = 0.0

    def enter(self, user_id: int) -> bool:
        """Whether one more session of the user may enter; if so, `entered` follows."""
        if self._held(user_id) >= self._user_connections_max:
            return False
        self._entering[user_id] += 1
        return True

    def entered(self, user_id: int) -> None:
        """A session that was to enter is among the user's sockets now, or is gone."""
        if self._entering[user_id] == 1:
            del self._entering[user_id]
        else:
            self._entering[user_id] -= 1

    def give_way(self, user_id: int) -> bool:
        """Close one socket of whoever has most; False if that would leave them less than this."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_PAUSE_S * len(self._subscriptions):
            self._looked_at = now
            self._heaviest = max(
                self._subscriptions, key=lambda one: len(one.sockets), default=None
            )
        sockets = self._heaviest.sockets if self._heaviest is not None else ()
        still_open = [one for one in sockets if isinstance(one, Session) and one.is_open]
        if len(still_open) <= self._held(user_id) + 1:
            return False
        still_open[-1].close(CloseCode.TOO_MANY_FRAMES, "the node is full: others have their share")
        return True

    def _held(self, user_id: int) -> int:
        subscriber = self._subscriptions.get(user_id)
        sockets = len(subscriber.sockets) if subscriber is not None else 0
        return sockets + self._entering.get(user_id, 0)
