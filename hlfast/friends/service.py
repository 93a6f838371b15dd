"""Requests, friendships, and their end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hlfast import errors
from hlfast.db.database import Database, Row

# friend.state, seen from the row's user_id.
ASKED_ME, FRIENDS = 2, 3


async def request(
    database: Database, me: int, other: int, *, friends_max: int
) -> Literal["requested", "friends"]:
    """Ask, or accept when they had asked. Raises errors.Invalid, NotFound, Conflict."""
    if other == me:
        raise errors.Invalid.field("path", "user_id", msg="Nobody befriends themselves.")
    answer = await database.fetch_row("friend_put", me, other, friends_max)
    match answer and answer["outcome"]:
        case "requested":
            return "requested"
        case "friends":
            return "friends"
        case "limit":
            raise errors.Conflict(f"One of you has {friends_max} friends, and no more are allowed.")
        case _:
            raise errors.NotFound("There is no such user.")


async def remove(database: Database, me: int, other: int) -> None:
    """End a friendship, withdraw my request or decline theirs. Raises errors.NotFound."""
    answer = await database.fetch_row("friend_delete", me, other) if other != me else None
    if answer is None or answer["outcome"] != "removed":
        raise errors.NotFound("You are neither friends nor has one asked the other.")


async def page(database: Database, me: int, state: int, after: int, limit: int) -> Sequence[Row]:
    """Users in a state with me (ASKED_ME, FRIENDS), by ascending id."""
    return await database.fetch("friend_page", me, state, after, limit)
