"""A websocket node: follows the log, and tells those connected here what concerns them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress

from hlfast import codec
from hlfast.auth.account import AccountStatus, Authenticator
from hlfast.auth.tokens import Claims, Tokens
from hlfast.batching import BatchReader
from hlfast.errors import HlfastError, Malformed, Unauthenticated, Unavailable
from hlfast.events.cursor import Cursor, parse
from hlfast.events.log import Entry, EventLog, Reset
from hlfast.events.publisher import read_batch
from hlfast.live.dismissals import Dismissals, Dismissed
from hlfast.live.event import Event, Friendship, read
from hlfast.live.frame_table import Frames
from hlfast.live.history import History
from hlfast.live.metrics import Counts, Delivery, lab_numbers
from hlfast.live.presence import Presence
from hlfast.live.replay import replay
from hlfast.live.revocation import end_revoked
from hlfast.live.session import Session, SocketSession
from hlfast.live.shares import Shares
from hlfast.live.stream import StreamSession, Wanted
from hlfast.live.subscriptions import Subscriber, Subscriptions
from hlfast.live.upgrade import Upgrade
from hlfast.logs import TRACED, named
from hlfast.settings import Settings
from hlfast.trace import CURRENT, of_event
from hlfast.websocket.limits import Limits
from hlfast.websocket.wire import CloseCode, text_frame
from hlfast.websocket.write_queue import WriteQueue

logger = logging.getLogger(__name__)

# Frames queued before others have their turn: a few milliseconds.
_SLICE = 1000
# When all sockets go: in so many steps.
_CLOSING_STEPS = 100
_DRAINING = "the node stops: reconnect"
_NO_ROOM = "This node takes no more connections now."


class Node:
    """Everything of one websocket process but its listening socket.

    `friends_of` reads a user's friends, each with the version of the pair, from the primary;
    `statuses` reads those of many users.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        log: EventLog,
        tokens: Tokens,
        authenticator: Authenticator,
        friends_of: BatchReader[int, Sequence[tuple[int, int]]],
        statuses: Callable[[Sequence[int]], Awaitable[Mapping[int, AccountStatus]]],
        frames: Frames,
    ) -> None:
        self.name = name
        self.tokens = tokens
        self.frames = frames
        self.limits = Limits(
            message_bytes_max=settings.ws_frame_bytes_max,
            frames_max=settings.ws_frames_max,
            frames_window_s=settings.ws_frames_window_s,
            queue_bytes_max=settings.ws_queue_bytes_max,
            behind_max_s=settings.ws_behind_s,
            join_delay_s=settings.ws_join_delay_s,
            handshake_timeout_s=settings.ws_handshake_timeout_s,
            handshakes_max=settings.ws_handshakes_max,
            ping_idle_s=settings.ws_ping_s,
            ping_reply_s=settings.ws_ping_s,
            comment_s=settings.ws_comment_s,
        )
        self.writes = WriteQueue(self.limits)
        self._settings = settings
        self._log = log
        self._authenticator = authenticator
        self._friends_of = friends_of
        self._statuses = statuses
        self.sessions: set[Session] = set()
        self.subscriptions = Subscriptions()
        self._shares = Shares(self.subscriptions, settings.ws_user_connections_max)
        self.dismissals = Dismissals(settings.ws_dismissed_max)
        self.history = History(
            events_max=settings.tail_events_max,
            bytes_max=settings.tail_bytes_max,
            age_max_s=settings.tail_s,
        )
        self._is_following = asyncio.Event()
        # When the log was heard of last, by the monotonic clock.
        self.heard_at = 0.0
        # Frames since others had their turn.
        self._queued = 0
        # Set, and replaced, with every entry of the log.
        self._advance = asyncio.Event()
        # Users who came or went, in that order, whose friends were not told yet.
        self._came_or_went: OrderedDict[int, None] = OrderedDict()
        self._somebody_moved = asyncio.Event()
        self.presence = Presence(
            name,
            log.broadcast,
            self._presence_changed,
            heartbeat_s=settings.presence_heartbeat_s,
            grace_s=settings.presence_grace_s,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_draining = False
        self._is_empty = asyncio.Event()
        self.counts = Counts()

    @property
    def is_ready(self) -> bool:
        """Whether it follows the log, and is not about to stop."""
        return self._is_following.is_set() and not self.is_draining

    async def run(self) -> None:
        """Follow the log and the broadcasts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._listen())
            group.create_task(self.presence.run(self._settings.presence_join_s))
            group.create_task(self._tell_presence())
            group.create_task(end_revoked(self.subscriptions, self._statuses, self._settings))

    async def drain(self, within_s: float) -> None:
        """Close every connection with 1001, spread over some seconds, and wait for that."""
        self.is_draining = True
        await self._close_all(CloseCode.GOING_AWAY, _DRAINING, within_s / 2)
        if self.sessions:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s / 2):
                    await self._is_empty.wait()
        self.presence.farewell()

    # Connections

    def connect(self, upgrade: Upgrade) -> SocketSession | Dismissed:
        """The connection of a handshake. Raises errors.Unavailable."""
        try:
            claims = self._admit(upgrade.token)
        except Unauthenticated as error:
            return Dismissed(self.writes, self.dismissals, self.counts, error.close_reason)
        return SocketSession(self, claims, upgrade.cursor)

    def stream(self, wanted: Wanted) -> StreamSession:
        """The connection of an event stream. Raises errors.Unauthenticated, errors.Unavailable."""
        return StreamSession(self, self._admit(wanted.token), wanted)

    def _admit(self, token: str) -> Claims:
        """Whoever may have a place. Raises errors.Unauthenticated, errors.Unavailable."""
        if not self.is_ready:
            raise Unavailable(_NO_ROOM)
        claims = self.tokens.verify("access", token)
        # On a full node somebody who has more sockets gives way.
        is_full = len(self.sessions) >= self._settings.ws_connections_max
        if is_full and not self._shares.make_room(claims.user_id):
            raise Unavailable(_NO_ROOM)
        return claims

    def opened(self, session: Session) -> None:
        """The handshake is done; what the session missed is looked up now."""
        self.sessions.add(session)
        if self.is_draining:
            session.close(CloseCode.GOING_AWAY, _DRAINING)
        elif not self._shares.enter(session.claims.user_id):
            self._dismiss(session, CloseCode.TOO_MANY_FRAMES, "too many connections of one user")
        else:
            self._spawn(self._enter(session))

    def _dismiss(self, session: Session, code: int, reason: str = "") -> None:
        """Close a session that was told nothing yet; its place is free at once."""
        self.sessions.discard(session)
        self.dismissals.add(session, code, reason)

    def closed(self, session: Session, code: int) -> None:
        """A connection is gone."""
        self.sessions.discard(session)
        self.dismissals.discard(session)
        self.counts.closes[code] += 1
        if self.is_draining and not self.sessions:
            self._is_empty.set()
        subscriber = session.subscriber
        if subscriber is not None:
            subscriber.sockets.remove(session)
            if not subscriber.sockets:
                self.subscriptions.remove(subscriber)
                self.presence.departed(subscriber.id)

    async def _enter(self, session: Session) -> None:
        cursor = parse(session.cursor) if session.cursor is not None else None
        try:
            await self._authenticator.check(session.claims)
            if cursor is not None:
                await self._catch_up(cursor)
            subscriber = await self._follower(session.claims.user_id)
        except Unauthenticated as error:
            self._dismiss(session, CloseCode.POLICY, error.close_reason)
        except Unavailable as error:
            self._dismiss(session, CloseCode.TRY_AGAIN_LATER, error.detail)
        except Exception as error:
            # Not the message: it may hold what is nobody's business.
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s when a socket was to enter\n%s", type(error).__name__, where)
            self._dismiss(session, CloseCode.INTERNAL_ERROR)
        else:
            self._attach(session, subscriber, cursor)
        finally:
            self._shares.entered(session.claims.user_id)

    def _attach(self, session: Session, subscriber: Subscriber, cursor: Cursor | None) -> None:
        """Nothing else runs meanwhile: what is replayed and what comes live meet."""
        if session.is_open:
            session.subscriber = subscriber
            subscriber.sockets.append(session)
            if len(subscriber.sockets) == 1:
                self.presence.arrived(subscriber.id)
            self._welcome(session, subscriber, cursor)
        elif not subscriber.sockets:
            self.subscriptions.remove(subscriber)

    async def _catch_up(self, cursor: Cursor) -> None:
        """Another node was ahead of this one: wait for the log, within reason."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.events_timeout_s):
                while self.history.is_behind(cursor):
                    await self._advance.wait()

    async def _follower(self, user_id: int) -> Subscriber:
        """The user among those followed, with their friends as of now.

        Between the noted event and the reading there is no gap: the friends are read later than
        the log was, and changes after the note are applied on top, by the versions of the pairs.
        """
        while True:
            await self._is_following.wait()
            noted = self.history.seq
            friends = await self._friends_of.get(user_id)
            known = self.subscriptions.get(user_id)
            if known is not None:
                return known
            if self.history.has_since(noted):
                subscriber = self.subscriptions.add(user_id, friends or ())
                for event in self.history.of_user(user_id, noted):
                    if (change := event.friendship) is not None:
                        self.subscriptions.apply_to(subscriber, change.other(user_id), change)
                return subscriber

    def _welcome(self, session: Session, subscriber: Subscriber, cursor: Cursor | None) -> None:
        online = [friend for friend in subscriber.friends if self.presence.is_online(friend)]
        seq = self.history.seq_at(cursor) if cursor is not None else None
        bytes_max = self.limits.queue_bytes_max // 2
        missed = replay(self.history, subscriber, seq, bytes_max) if seq is not None else None
        hello = {
            "user_id": subscriber.id,
            "node": self.name,
            # What this client has seen once it has read this frame: who is cut off in the middle
            # of the replay comes back for the rest.
            "cursor": session.cursor if missed else self.history.end.text(),
            "online": online,
        }
        session.send("hello", hello)
        session.after_seq = self.history.seq
        if session.cursor is not None:
            session.cursor = None
            self.counts.resumes[missed is not None] += 1
            for event_frame in missed or ():
                session.queue(event_frame)
            session.send("resumed", {"recovered": missed is not None})

    # The log

    async def _follow(self) -> None:
        async with aclosing(self._log.follow(None)) as items:
            async for item in items:
                self.heard_at = time.monotonic()
                if isinstance(item, Reset):
                    await self._reset(item)
                else:
                    await self._take(item)

    async def _reset(self, item: Reset) -> None:
        """What came before is void: whoever is connected may have missed something."""
        self.history.reset(item.position)
        if self._is_following.is_set():
            logger.warning("The event log was lost: %d clients reload", len(self.sessions))
            # Changes of friendships may be lost, too: whoever returns has them read anew.
            for subscriber in self.subscriptions:
                self.presence.departed(subscriber.id)
            self.subscriptions.clear()
            for session in self.sessions:
                session.subscriber = None
            await self._close_all(CloseCode.GOING_AWAY, "the event log was lost: reload", 0)
        self._is_following.set()

    async def _take(self, entry: Entry) -> None:
        try:
            since, bodies = read_batch(entry.batch)
        except (Malformed, KeyError, TypeError, ValueError):
            logger.error("An entry of the log is none of ours: it is passed over")
            self.counts.events["unreadable"] += 1
            since, bodies = 0.0, []
        is_told = False
        for index, body in enumerate(bodies):
            cursor = Cursor(entry.position, index)
            try:
                event = read(body, self.history.next_seq(), cursor.text(), self.frames)
            except (KeyError, TypeError, ValueError):
                logger.error("An entry of the log holds no event of ours: it is passed over")
                self.counts.events["unreadable"] += 1
                self.history.passed(cursor)
                continue
            if self.history.knows(event.id):
                self.counts.events["repeated"] += 1
                self.history.passed(cursor)
                continue
            self.history.append(event, cursor)
            self.counts.events["new"] += 1
            is_told |= await self._deliver(event)
            if (traced := of_event(body)) is not None:
                CURRENT.set(traced)
                TRACED.info("event", extra=named(event_id=event.id, type=body["type"]))
                CURRENT.set(None)
            await self._give_way(1)
        if is_told:
            self.writes.add(Delivery(since, self.counts.lag))
        self._advance.set()
        self._advance = asyncio.Event()

    async def _deliver(self, event: Event) -> bool:
        """Whether it concerned anybody here."""
        is_told = False
        for user_id, event_frame in event.targets:
            subscriber = self.subscriptions.get(user_id)
            if subscriber is not None:
                _queue((subscriber,), event_frame, event.seq)
                is_told = True
        if event.author:
            subscribers = self.subscriptions.of(event.author)
            is_told = bool(subscribers)
            for start in range(0, len(subscribers), _SLICE):
                some = subscribers[start : start + _SLICE]
                _queue(some, event.frame, event.seq)
                await self._give_way(len(some))
        if event.friendship is not None:
            self.subscriptions.apply(event.friendship)
            if event.friendship.are_friends:
                self._introduce(event.friendship)
        return is_told

    async def _give_way(self, queued: int) -> None:
        """Others have their turn after so many frames, of one event or of many."""
        self._queued += queued
        if self._queued >= _SLICE:
            self._queued = 0
            await asyncio.sleep(0)

    def _introduce(self, friendship: Friendship) -> None:
        """New friends see at once whether the other one is online."""
        for user_id in friendship.pair:
            subscriber, other = self.subscriptions.get(user_id), friendship.other(user_id)
            if subscriber is not None and self.presence.is_online(other):
                self._send_all([subscriber], "presence", {"user_id": other, "online": True})

    # What is broadcast, and never replayed

    async def _listen(self) -> None:
        async with aclosing(self._log.listen()) as messages:
            async for data in messages:
                try:
                    message = codec.decode(data)
                    if "typing" in message:
                        author, reader = message["typing"]
                        subscriber = self.subscriptions.get(reader)
                        if subscriber is not None and author in subscriber.friends:
                            self._send_all([subscriber], "typing", {"user_id": author})
                    else:
                        self.presence.heard(message)
                except (Malformed, KeyError, TypeError, ValueError):
                    logger.error("A broadcast is none of ours: it is passed over")

    def typing(self, session: Session, user_id: int) -> None:
        """Tell a friend that the session's user writes to them; anybody else is not told."""
        subscriber = session.subscriber
        if subscriber is None:
            session.refuse("too_early", "Wait for the hello.")
            return
        if not 0 < user_id < 2**31 or user_id not in subscriber.friends:
            session.refuse("not_friends", "Only friends see that you are typing.")
            return
        self._log.broadcast(codec.encode({"typing": [subscriber.id, user_id]}))

    def lab(self, session: Session) -> None:
        """Tell a superuser what this node is at, where HLFAST_LAB is on."""
        if self._settings.lab:
            self._spawn(self._report(session))
        else:
            session.refuse("notfound", "The laboratory is off: HLFAST_LAB=true lets superusers in.")

    async def _report(self, session: Session) -> None:
        try:
            status = await self._authenticator.check(session.claims)
        except HlfastError as error:
            session.refuse(type(error).__name__.lower(), error.detail)
            return
        if not status.is_superuser:
            session.refuse("forbidden", "Only a superuser may do this.")
            return
        numbers = lab_numbers(self.counts, self.writes, self.sessions, self.subscriptions)
        session.send("lab", {"node": self.name, **numbers})

    def _presence_changed(self, users: Sequence[int]) -> None:
        self._came_or_went.update(dict.fromkeys(users))
        self._somebody_moved.set()

    async def _tell_presence(self) -> None:
        """Friends are told how it stands when their turn comes: a whole node may have gone."""
        told = 0
        while True:
            await self._somebody_moved.wait()
            self._somebody_moved.clear()
            while self._came_or_went:
                # Of a dict the first key would be looked for among all that were deleted.
                user, _ = self._came_or_went.popitem(last=False)
                online = self.presence.is_online(user)
                if subscribers := self.subscriptions.of(user):
                    self._send_all(subscribers, "presence", {"user_id": user, "online": online})
                told += 1 + len(subscribers)
                if told >= _SLICE:
                    told = 0
                    await asyncio.sleep(0)

    def _send_all(
        self, subscribers: Sequence[Subscriber], kind: str, fields: Mapping[str, object]
    ) -> None:
        frame = text_frame(self.frames.build(kind, fields))
        for subscriber in subscribers:
            for socket in subscriber.sockets:
                socket.queue(frame)

    async def _close_all(self, code: int, reason: str, within_s: float) -> None:
        sessions = list(self.sessions)
        # In no order that clients could share.
        random.shuffle(sessions)
        step = -(-len(sessions) // _CLOSING_STEPS) or 1
        pause_s = within_s / _CLOSING_STEPS
        for start in range(0, len(sessions), step):
            for session in sessions[start : start + step]:
                session.close(code, reason)
            await asyncio.sleep(pause_s)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _queue(subscribers: Iterable[Subscriber], event_frame: bytes, seq: int) -> None:
    for subscriber in subscribers:
        for socket in subscriber.sockets:
            if socket.after_seq < seq:
                socket.queue(event_frame)
