"""Dialogs: sending, reading, and the list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hlfast import errors
from hlfast.bodies import Mark
from hlfast.db.batching import BatchReader
from hlfast.db.database import Database, Row
from hlfast.db.nodes import Nodes
from hlfast.dialogs import ids
from hlfast.dialogs.schemas import MessageNew, show
from hlfast.outbox import Outbox, Told
from hlfast.profiles import Profile
from hlfast.sending import Sender, fetch_healed
from hlfast.web.fields import ID_MAX, USER_ID_MAX, first

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def told(kind: str, dialog: int, actor: int, other: int, row: Row) -> Told:
    """The event of a change: a message was sent, or everything up to one was read."""
    event_id = row["event_id"]
    data: dict[str, Any]
    if kind == "message.created":
        data = {"message": show(row, actor, other)}
    else:
        data = {"user_id": actor, "peer_id": other, "up_to": row["up_to"]}
    id = f"d{ids.pair(actor, other)}-{event_id}"
    event = {"id": id, "type": kind, "to": [actor, other], "data": data}
    before = row["previous_id"]
    return Told(dialog, event_id, () if before is None else ((dialog, before),), event)


def told_of_row(row: Row) -> Told:
    """The event of a row of the outbox."""
    dialog, actor = row["dialog_id"], row["user_id"]
    return told(row["kind"], dialog, actor, ids.peer(dialog, actor), row)


def between(me: int, other: int) -> int:
    """The id of the dialog of two users. Raises errors.Invalid for one with oneself."""
    if me == other:
        raise errors.Invalid.field("path", "user_id", msg="Nobody has a dialog with themselves.")
    return ids.dialog_id(me, other)


async def _must_exist(users: BatchReader[int, Profile], user_id: int) -> None:
    if await users.get(user_id) is None:
        raise errors.NotFound("There is no such user.")


def tell_sent(outbox: Outbox, dialog: int, me: int, to: int, row: Row) -> None:
    """A new message is committed: everybody concerned is to know."""
    outbox.committed(told("message.created", dialog, me, to, row))


async def send(
    sender: Sender,
    users: BatchReader[int, Profile],
    me: int,
    to: int,
    new: MessageNew,
) -> tuple[Row, bool]:
    """The message, and whether it is new: the same `client_id` again returns the first one.

    One round trip in a dialog that exists; the first message of one asks whether the recipient
    does. Raises errors.NotFound, Invalid for myself.
    """
    arguments = (between(me, to), me, to, new.content, new.client_id)
    message = await sender.send(*arguments)
    if message["outcome"] == "absent":
        await _must_exist(users, to)
        message = await sender.send_alone(*arguments, create=True)
    return message, message["outcome"] == "sent"


async def page(
    dialogs: Database,
    users: BatchReader[int, Profile],
    dialog_marks: BatchReader[int, Mark],
    dialog: int,
    other: int,
    *,
    before: int | None,
    after: int | None,
    limit: int,
) -> Sequence[Row]:
    """Messages newest first, or oldest first with `after`.

    Raises errors.NotFound where there is neither a dialog nor the other user.
    """
    if after is not None:
        found = await dialogs.fetch("dialog_page_after", dialog, after, limit)
    else:
        found = await dialogs.fetch("dialog_page_before", dialog, before or ID_MAX, limit)
    # Who has a dialog has its pages, the empty ones too: what is kept shows the dialog alone.
    if not found and await dialog_marks.get(dialog) is None:
        await _must_exist(users, other)
    return found


async def mark_read(
    dialogs: Database,
    users: BatchReader[int, Profile],
    outbox: Outbox,
    me: int,
    other: int,
    up_to: int,
) -> None:
    """Everything up to a message is read; past the newest one means all. Raises NotFound."""
    dialog = between(me, other)
    if not 1 <= up_to <= ID_MAX:
        raise errors.NotFound("There is no such message.")
    which = (dialog, me, other)
    marked = await fetch_healed(dialogs, which, "dialog_read", dialog, me, up_to)
    if marked is None or marked["up_to"] == 0:
        await _must_exist(users, other)
    elif marked["event_id"] is not None:
        outbox.committed(told("message.read", dialog, me, other, marked))


async def marks(dialogs: Database, ids: Sequence[int]) -> Mapping[int, Mark]:
    """By dialog: what changes with everything that a page of it shows."""
    return {row[0]: tuple(row) for row in await dialogs.fetch("dialog_marks", ids)}


async def listing(
    dialogs: Database,
    nodes: Nodes | None,
    users: BatchReader[int, Profile],
    me: int,
    cursor: str | None,
    limit: int,
) -> tuple[list[tuple[Row, int, bytes]], str | None, bool]:
    """My dialogs by latest activity, each with the other user's id and JSON; the next cursor; all?

    The cursor is `<last activity in microseconds since 1970>-<the other user's id>`. Some are
    missing while one of `nodes`, those of a cluster, is away.
    """
    active_at, last = ID_MAX, ID_MAX
    if cursor is not None:
        time, _, user = cursor.partition("-")
        active_at, last = min(int(time), ID_MAX), ids.dialog_id(me, min(int(user), USER_ID_MAX))
    asked, is_whole = (me, active_at, last, limit + 1), True
    if nodes is None:
        rows = await dialogs.fetch("dialog_list", *asked)
    else:
        rows, is_whole = await nodes.fetch("dialog_list", "dialog_list_of_living", *asked)
    found, more = first(rows, limit)
    peers = [ids.peer(row["dialog_id"], me) for row in found]
    others = await users.get_many(peers)
    shown = [
        (row, peer, user.body)
        for row, peer, user in zip(found, peers, others, strict=True)
        if user is not None
    ]
    if not more:
        return shown, None, is_whole
    active_us = (found[-1]["last_message_at"] - _EPOCH) // _MICROSECOND
    return shown, f"{active_us}-{peers[-1]}", is_whole
