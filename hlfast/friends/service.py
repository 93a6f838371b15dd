"""Requests, friendships, and their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from hlfast import errors
from hlfast.db.database import Database, Row
from hlfast.outbox import Outbox, Told, rows_before

# friend.state, seen from the row's user_id.
ASKED_THEM, ASKED_ME, FRIENDS = 1, 2, 3
Status = Literal["friends", "requested", "asked", "none"]
_STATUSES: Mapping[int | None, Status] = {
    ASKED_THEM: "requested",
    ASKED_ME: "asked",
    FRIENDS: "friends",
    None: "none",
}
# Somebody may ask a stranger and withdraw that as often as they like.
_MERGED = ("friend.requested", "friend.withdrawn")


def told(kind: str, actor: int, other: int, row: Row) -> Told:
    """The event of a change of a pair; `version` tells it from what a reader knows already.

    What begins or ends a friendship is told each time: it decides who sees what.
    """
    event_id = row["event_id"]
    pair = {"pair": [actor, other], "version": row["version"]}
    return Told(
        actor,
        event_id,
        rows_before(row),
        {"id": f"o{event_id}", "type": kind, **pair},
        merges=(min(actor, other), max(actor, other)) if kind in _MERGED else None,
    )


async def request(
    database: Database, outbox: Outbox, me: int, other: int, *, friends_max: int
) -> Literal["requested", "friends"]:
    """Ask, or accept when they had asked. Raises errors.Invalid, NotFound, Conflict."""
    if other == me:
        raise errors.Invalid.field("path", "user_id", msg="Nobody befriends themselves.")
    answer = await database.fetch_row("friend_put", me, other, friends_max)
    if answer is not None and answer["event_id"] is not None:
        kind = "friend.requested" if answer["outcome"] == "requested" else "friend.added"
        outbox.committed(told(kind, me, other, answer))
    match answer and answer["outcome"]:
        case "requested":
            return "requested"
        case "friends":
            return "friends"
        case "limit":
            raise errors.Conflict(f"One of you has {friends_max} friends, and no more are allowed.")
        case _:
            raise errors.NotFound("There is no such user.")


async def remove(database: Database, outbox: Outbox, me: int, other: int) -> None:
    """End a friendship, withdraw my request or decline theirs. Raises errors.NotFound."""
    answer = await database.fetch_row("friend_delete", me, other) if other != me else None
    if answer is None or answer["outcome"] == "none":
        raise errors.NotFound("You are neither friends nor has one asked the other.")
    outbox.committed(told(f"friend.{answer['outcome']}", me, other, answer))


async def status(database: Database, me: int, other: int) -> Status:
    """Where the two stand. Raises errors.Invalid, NotFound."""
    if other == me:
        raise errors.Invalid.field("path", "user_id", msg="Nobody befriends themselves.")
    found = await database.fetch_row("friend_status", me, other)
    if found is None:
        raise errors.NotFound("There is no such user.")
    return _STATUSES[found["state"]]


async def page(database: Database, me: int, state: int, after: int, limit: int) -> Sequence[Row]:
    """Users in a state with me (ASKED_THEM, ASKED_ME, FRIENDS), by ascending id."""
    return await database.fetch("friend_page", me, state, after, limit)
