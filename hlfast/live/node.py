"""A websocket node: follows the event log, and sends those connected here what concerns them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress

from hlfast.auth.account import AccountStatus, Authenticator
from hlfast.auth.tokens import Claims, Tokens
from hlfast.batching import BatchReader
from hlfast.errors import HlfastError, Unauthenticated, Unavailable
from hlfast.events.cursor import Cursor, parse
from hlfast.events.log import Entry, EventLog, Reset
from hlfast.live.broadcasts import Broadcasts
from hlfast.live.dismissals import Dismissals, Dismissed
from hlfast.live.expiries import Expiries
from hlfast.live.fan_out import FanOut
from hlfast.live.frame_table import Frames
from hlfast.live.history import History
from hlfast.live.metrics import Counts, lab_numbers
from hlfast.live.replay import replay
from hlfast.live.revocation import end_revoked
from hlfast.live.session import Session, SocketSession
from hlfast.live.shares import Shares
from hlfast.live.stream import StreamSession, Wanted
from hlfast.live.subscriptions import Subscriber, Subscriptions
from hlfast.live.upgrade import Upgrade
from hlfast.settings import Settings
from hlfast.websocket.limits import Limits
from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue

logger = logging.getLogger(__name__)

# When all sockets go: in so many steps.
_CLOSING_STEPS = 100
_DRAINING = "the node stops: reconnect"
_FULL = "This node takes no more connections now."


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
        self.expiries = Expiries()
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
        # Set, and replaced, with every entry of the log.
        self._advance = asyncio.Event()
        self._broadcasts = Broadcasts(name, settings, log, self.subscriptions, frames, self.writes)
        self.presence = self._broadcasts.presence
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_draining = False
        self._is_empty = asyncio.Event()
        self.counts = Counts()
        self._fan_out = FanOut(
            self.writes,
            self.history,
            self.subscriptions,
            frames,
            self.counts,
            self._broadcasts.introduce,
            joins_events=settings.tuning.join_events,
        )

    @property
    def is_ready(self) -> bool:
        """Whether it follows the log, and is not about to stop."""
        return self._is_following.is_set() and not self.is_draining

    async def run(self) -> None:
        """Follow the log and the broadcasts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._broadcasts.run())
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
        """The claims of whoever may connect. Raises errors.Unauthenticated, errors.Unavailable."""
        if not self.is_ready:
            raise Unavailable(_FULL)
        claims = self.tokens.verify("access", token)
        # On a full node somebody who has more sockets gives way.
        is_full = len(self.sessions) >= self._settings.ws_connections_max
        if is_full and not self._shares.give_way(claims.user_id):
            raise Unavailable(_FULL)
        return claims

    def opened(self, session: Session) -> None:
        """A session's handshake is done; what the session missed is looked up now."""
        self.sessions.add(session)
        if self.is_draining:
            session.close(CloseCode.GOING_AWAY, _DRAINING)
        elif not self._shares.enter(session.claims.user_id):
            self._dismiss(session, CloseCode.TOO_MANY_FRAMES, "too many connections of one user")
        else:
            self._spawn(self._enter(session))

    def _dismiss(self, session: Session, code: int, reason: str = "") -> None:
        """Close a session that was sent nothing yet; it counts against no limit any more."""
        self.sessions.discard(session)
        self.dismissals.add(session, code, reason)

    def closed(self, session: Session, code: int) -> None:
        """Forget a session whose connection is gone."""
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
            subscriber = await self._subscriber(session.claims.user_id)
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

    async def _subscriber(self, user_id: int) -> Subscriber:
        """The user as a subscriber, with their friends as of now.

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
        session.after_move = self._broadcasts.moves
        if session.cursor is not None:
            session.cursor = None
            self.counts.resumes[missed is not None] += 1
            for event_frame in missed or ():
                session.queue(event_frame)
            session.send("resumed", {"recovered": missed is not None})

    def typing(self, session: Session, user_id: int) -> None:
        """Broadcast that the session's user writes to a friend: see Broadcasts.typing."""
        self._broadcasts.typing(session, user_id)

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
        await self._fan_out.take(entry)
        self._advance.set()
        self._advance = asyncio.Event()

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
