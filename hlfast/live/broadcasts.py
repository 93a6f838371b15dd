"""Presence and typing: what nodes broadcast to one another, as frames for the users here.

A broadcast may be lost, and is never replayed: neither goes through the event log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from hlfast import codec
from hlfast.errors import Malformed
from hlfast.events.log import EventLog
from hlfast.ids import USER_ID_MAX
from hlfast.live.event import Friendship
from hlfast.live.frame_table import Frames
from hlfast.live.presence import Presence
from hlfast.live.session import Session
from hlfast.live.subscriptions import Subscriber, Subscriptions
from hlfast.settings import Settings
from hlfast.websocket.wire import text_frame
from hlfast.websocket.write_queue import WriteQueue

logger = logging.getLogger(__name__)

# Frames queued before other tasks have their turn: a few milliseconds.
_SLICE = 1000
# Moves are collected for so long after each frame of a round: below 5,000 frames a second that is
# a moment, and beyond it the rounds become as rare as this, however many come.
_COLLECTED_PER_FRAME_S = 200e-6
_COLLECTED_MAX_S = 2.0


class Broadcasts:
    """Presence and typing on one node: what it hears from the others, and what it says."""

    def __init__(
        self,
        node: str,
        settings: Settings,
        log: EventLog,
        subscriptions: Subscriptions,
        frames: Frames,
        writes: WriteQueue,
    ) -> None:
        self._log = log
        self._writes = writes
        self._subscriptions = subscriptions
        self._frames = frames
        self._join_s = settings.presence_join_s
        # Users who came or went, in that order, whose friends have no frame about it yet, and by
        # the number of their last move.
        self._came_or_went: OrderedDict[int, int] = OrderedDict()
        self._moves = 0
        self._somebody_moved = asyncio.Event()
        self.presence = Presence(
            node,
            log.broadcast,
            self._presence_changed,
            heartbeat_s=settings.presence_heartbeat_s,
            grace_s=settings.presence_grace_s,
        )

    async def run(self) -> None:
        """Hear the broadcasts, and send this node's, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self.presence.run(self._join_s))
            group.create_task(self._send_presence())

    def typing(self, session: Session, user_id: int) -> None:
        """Broadcast that the session's user writes to a friend; to nobody else is it said."""
        subscriber = session.subscriber
        if subscriber is None:
            session.refuse("too_early", "Wait for the hello.")
            return
        if not 0 < user_id <= USER_ID_MAX or user_id not in subscriber.friends:
            session.refuse("not_friends", "Only friends see that you are typing.")
            return
        self._log.broadcast(codec.encode({"typing": [subscriber.id, user_id]}))

    def introduce(self, friendship: Friendship) -> None:
        """Send each of two new friends whether the other one is online."""
        for user_id in friendship.pair:
            subscriber = self._subscriptions.get(user_id)
            other = friendship.other(user_id)
            if subscriber is not None and self.presence.is_online(other):
                self._send_all([subscriber], "presence", {"user_id": other, "online": True})

    async def _listen(self) -> None:
        async with aclosing(self._log.listen()) as messages:
            async for data in messages:
                try:
                    message = codec.decode(data)
                    if "typing" in message:
                        author, reader = message["typing"]
                        subscriber = self._subscriptions.get(reader)
                        if subscriber is not None and author in subscriber.friends:
                            self._send_all([subscriber], "typing", {"user_id": author})
                    else:
                        self.presence.heard(message)
                except (Malformed, KeyError, TypeError, ValueError):
                    logger.error("A broadcast is none of ours: it is passed over")

    @property
    def moves(self) -> int:
        """How often somebody came or went: whoever looks now knows of all of it."""
        return self._moves

    def _presence_changed(self, users: Sequence[int]) -> None:
        for user in users:
            self._moves += 1
            self._came_or_went[user] = self._moves
        self._somebody_moved.set()

    async def _send_presence(self) -> None:
        """Send friends who came and who went, in rounds.

        The more frames a round has, the longer those who move meanwhile are collected for the next:
        when thousands come at once, a socket has several frames in one write.
        """
        while True:
            await self._somebody_moved.wait()
            self._somebody_moved.clear()
            frames = await self._send_round()
            await asyncio.sleep(min(_COLLECTED_MAX_S, frames * _COLLECTED_PER_FRAME_S))

    async def _send_round(self) -> int:
        """Send the state as of the users' turn: a whole node may have gone. How many frames."""
        frames, weight = 0, 0
        self._writes.hold()
        while self._came_or_went:
            # Of a dict the first key would be looked for among all that were deleted.
            user, move = self._came_or_went.popitem(last=False)
            if subscribers := self._subscriptions.of(user):
                online = self.presence.is_online(user)
                fields = {"user_id": user, "online": online}
                frames += self._send_all(subscribers, "presence", fields, move)
            weight += 1 + len(subscribers)
            if weight >= _SLICE:
                weight = 0
                await asyncio.sleep(0)
        self._writes.release()
        return frames

    def _send_all(
        self,
        subscribers: Sequence[Subscriber],
        kind: str,
        fields: Mapping[str, object],
        move: int | None = None,
    ) -> int:
        """The number of sockets a frame was sent to: not those whose hello has the move already."""
        frame = text_frame(self._frames.build(kind, fields))
        sent = 0
        for subscriber in subscribers:
            for socket in subscriber.sockets:
                if move is None or socket.after_move < move:
                    socket.queue(frame)
                    sent += 1
        return sent
