"""Dialogs: sending, reading, and the list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from hlfast import codec, errors
from hlfast.batching import BatchLimits, BatchReader
from hlfast.db.database import Database, Row
from hlfast.db.nodes import Nodes
from hlfast.dialogs import dialog_ids
from hlfast.dialogs.schemas import MessageNew, MessagePage, show, show_page
from hlfast.dialogs.send_batch import SendBatch, fetch_healed
from hlfast.events.outbox import Outbox
from hlfast.events.outbox_row import OutboxRow
from hlfast.ids import ID_MAX, USER_ID_MAX
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache, Version
from hlfast.settings import Settings
from hlfast.web.fields import first, page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def outbox_row(row: Row) -> OutboxRow:
    """A row of the dialogs' outbox."""
    dialog, actor = row["dialog_id"], row["user_id"]
    return _outbox_row(row["kind"], dialog, actor, dialog_ids.peer(dialog, actor), row)


def _outbox_row(
    kind: str, dialog: int, actor: int, other: int, row: Row, message: Any = None
) -> OutboxRow:
    """The event of a change: a message was sent, or everything up to one was read.

    `message` is the Message, where it is encoded already.
    """
    event_id = row["event_id"]
    data: dict[str, Any]
    if kind == "message.created":
        data = {"message": show(row, actor, other) if message is None else message}
    else:
        data = {"user_id": actor, "peer_id": other, "up_to": row["up_to"]}
    id = f"d{dialog_ids.pair(actor, other)}-{event_id}"
    event = {"id": id, "type": kind, "to": [actor, other], "data": data}
    before = row["previous_id"]
    return OutboxRow(dialog, event_id, () if before is None else ((dialog, before),), event)


def between(me: int, other: int) -> int:
    """The id of the dialog of two users. Raises errors.Invalid for one with oneself."""
    if me == other:
        raise errors.Invalid.field("path", "user_id", msg="Nobody has a dialog with themselves.")
    return dialog_ids.dialog_id(me, other)


class Listed(NamedTuple):
    """A page of dialogs: each with the other user's id and JSON, the next cursor; all of them?"""

    dialogs: Sequence[tuple[Row, int, bytes]]
    cursor: str | None
    is_whole: bool


class Dialogs:
    """Messages between two users. `nodes` are those of the cluster that the dialogs are on, if any.

    `sends_share`: concurrent messages to different dialogs share one statement.
    """

    def __init__(
        self,
        database: Database,
        nodes: Nodes | None,
        profiles: Profiles,
        outbox: Outbox,
        cache: ResponseCache,
        settings: Settings,
        *,
        limits: BatchLimits,
        sends_share: bool,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._profiles = profiles
        self._outbox = outbox
        self._cache = cache
        self._versions = BatchReader(self._read_versions, limits)
        self._sending = SendBatch(database, self._answered, settings, shared=sends_share)

    def share_sends(self, is_on: bool) -> None:
        """Let concurrent messages share a statement from now on, or none."""
        self._sending.is_shared = is_on

    async def send(self, me: int, to: int, new: MessageNew) -> tuple[bytes, bool]:
        """The message as JSON, and whether it is new: the same `client_id` again gives the first.

        One round trip in a dialog that exists; the first message of one asks whether the recipient
        does. Raises errors.NotFound, Invalid for myself.
        """
        arguments = (between(me, to), me, to, new.content, new.client_id)
        answer = await self._sending.send(*arguments)
        if answer is None:
            await self._profiles.need(to)
            answer = await self._sending.send_alone(*arguments, create=True)
            if answer is None:
                # Its row was taken away in that moment, by hand: nothing was sent.
                raise errors.Unavailable("The dialog is changing.")
        return answer

    def _answered(self, dialog: int, me: int, to: int, row: Row) -> tuple[bytes, bool]:
        """A message that is there as JSON, and whether it is new: its event is under way then."""
        # Encoded once, for the answer and for the event, which may wait.
        body = codec.compact(codec.encode(show(row, me, to)))
        is_new = row["outcome"] == "sent"
        if is_new:
            message = codec.encoded(body)
            self._outbox.committed(_outbox_row("message.created", dialog, me, to, row, message))
        return body, is_new

    async def page(self, me: int, other: int, query: MessagePage) -> bytes:
        """The page of our messages as JSON: newest first, or oldest first with `after`.

        Raises errors.NotFound where there is neither a dialog nor the other user, Invalid for
        myself.
        """
        dialog = between(me, other)
        # The page is the same to both of them.
        return await self._cache.serve(
            ("dialog", dialog, query.before, query.after, query.limit),
            partial(self._versions.get, dialog),
            partial(self._make_page, dialog, me, other, query),
        )

    async def _make_page(self, dialog: int, me: int, other: int, query: MessagePage) -> bytes:
        limit = query.limit + 1
        if query.after is not None:
            rows = await self._database.fetch("dialog_page_after", dialog, query.after, limit)
        else:
            before = query.before or ID_MAX
            rows = await self._database.fetch("dialog_page_before", dialog, before, limit)
        # A dialog has its pages, the empty ones too: the cache shows the dialog alone.
        if not rows and await self._versions.get(dialog) is None:
            await self._profiles.need(other)
        found, more = first(rows, query.limit)
        shown = show_page(found, me, other)
        return codec.encode(page(shown, shown[-1]["id"] if more else None))

    async def mark_read(self, me: int, other: int, up_to: int) -> None:
        """Everything up to a message is read; past the newest one means all. Raises NotFound."""
        dialog = between(me, other)
        if not 1 <= up_to <= ID_MAX:
            raise errors.NotFound("There is no such message.")
        which = (dialog, me, other)
        row = await fetch_healed(self._database, which, "dialog_read", dialog, me, up_to)
        if row is None or row["up_to"] == 0:
            await self._profiles.need(other)
        elif row["event_id"] is not None:
            self._outbox.committed(_outbox_row("message.read", dialog, me, other, row))

    async def listing(self, me: int, cursor: str | None, limit: int) -> Listed:
        """My dialogs by latest activity.

        The cursor is `<last activity in microseconds since 1970>-<the other user's id>`. Some are
        missing while one of the cluster's nodes is away.
        """
        active_at, last = ID_MAX, ID_MAX
        if cursor is not None:
            time, _, user = cursor.partition("-")
            active_at = min(int(time), ID_MAX)
            last = dialog_ids.dialog_id(me, min(int(user), USER_ID_MAX))
        asked, is_whole = (me, active_at, last, limit + 1), True
        if self._nodes is None:
            rows = await self._database.fetch("dialog_list", *asked)
        else:
            rows, is_whole = await self._nodes.fetch("dialog_list", "dialog_list_of_living", *asked)
        found, more = first(rows, limit)
        peers = [dialog_ids.peer(row["dialog_id"], me) for row in found]
        others = await self._profiles.get_many(peers)
        shown = [
            (row, peer, user.body)
            for row, peer, user in zip(found, peers, others, strict=True)
            if user is not None
        ]
        if not more:
            return Listed(shown, None, is_whole)
        active_us = (found[-1]["last_message_at"] - _EPOCH) // _MICROSECOND
        return Listed(shown, f"{active_us}-{peers[-1]}", is_whole)

    async def _read_versions(self, ids: Sequence[int]) -> Mapping[int, Version]:
        """Version of each dialog: numbers, one of which changes with whatever its pages show."""
        return {row[0]: tuple(row) for row in await self._database.fetch("dialog_versions", ids)}
