"""Requests, friendships, and their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from hlfast import errors
from hlfast.db.database import Database, Row
from hlfast.events.outbox import Outbox
from hlfast.events.outbox_row import OutboxRow, rows_before

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


def outbox_row(row: Row) -> OutboxRow:
    """A row of the outbox about a pair of users."""
    return _outbox_row(row["kind"], row["user_id"], row["id"], row)


def _outbox_row(kind: str, actor: int, other: int, row: Row) -> OutboxRow:
    """The event of a change of a pair; `version` tells it from what a reader knows already.

    Every event that begins or ends a friendship is published: it decides who sees what.
    """
    event_id = row["event_id"]
    pair = {"pair": [actor, other], "version": row["version"]}
    return OutboxRow(
        actor,
        event_id,
        rows_before(row),
        {"id": f"o{event_id}", "type": kind, **pair},
        merges=(min(actor, other), max(actor, other)) if kind in _MERGED else None,
    )


class Friends:
    """Friendships and the requests for them. Nobody has more than `friends_max` friends."""

    def __init__(self, database: Database, outbox: Outbox, *, friends_max: int) -> None:
        self._database = database
        self._outbox = outbox
        self._friends_max = friends_max

    async def request(self, me: int, other: int) -> Literal["requested", "friends"]:
        """Ask, or accept when they had asked. Raises errors.Invalid, NotFound, Conflict."""
        if other == me:
            raise errors.Invalid.field("path", "user_id", msg="Nobody befriends themselves.")
        answer = await self._database.fetch_row("friend_put", me, other, self._friends_max)
        if answer is not None and answer["event_id"] is not None:
            kind = "friend.requested" if answer["outcome"] == "requested" else "friend.added"
            self._outbox.committed(_outbox_row(kind, me, other, answer))
        match answer and answer["outcome"]:
            case "requested":
                return "requested"
            case "friends":
                return "friends"
            case "limit":
                raise errors.Conflict(
                    f"One of you has {self._friends_max} friends, and no more are allowed."
                )
            case _:
                raise errors.NotFound("There is no such user.")

    async def remove(self, me: int, other: int) -> None:
        """End a friendship, withdraw my request or decline theirs. Raises errors.NotFound."""
        answer = None
        if other != me:
            answer = await self._database.fetch_row("friend_delete", me, other)
        if answer is None or answer["outcome"] == "none":
            raise errors.NotFound("You are neither friends nor has one asked the other.")
        self._outbox.committed(_outbox_row(f"friend.{answer['outcome']}", me, other, answer))

    async def status(self, me: int, other: int) -> Status:
        """Where the two stand. Raises errors.Invalid, NotFound."""
        if other == me:
            raise errors.Invalid.field("path", "user_id", msg="Nobody befriends themselves.")
        found = await self._database.fetch_row("friend_status", me, other)
        if found is None:
            raise errors.NotFound("There is no such user.")
        return _STATUSES[found["state"]]

    async def page(self, me: int, state: int, after: int, limit: int) -> Sequence[Row]:
        """Users in a state with me (ASKED_THEM, ASKED_ME, FRIENDS), by ascending id."""
        return await self._database.fetch("friend_page", me, state, after, limit)
