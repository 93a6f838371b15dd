"""Posts, walls and the feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hlfast import errors
from hlfast.bodies import Mark
from hlfast.db.batching import BatchReader
from hlfast.db.database import Database, Row
from hlfast.outbox import VOID, Outbox, Told, rows_before
from hlfast.posts.schemas import FIELDS, PostNew, PostPatch
from hlfast.profiles import Profile
from hlfast.web.fields import ID_MAX, first

_NOT_YOURS = "Only its author may do this."


def told(kind: str, author: int, row: Row) -> Told:
    """The event of a change, from its own row or from what stayed in the outbox.

    Of a post that is gone by now nothing is told but its deletion: its other events are void.
    """
    post_id, event_id = row["id"], row["event_id"]
    event: dict[str, Any] = {"id": f"o{event_id}", "type": kind, "author": author}
    if kind == "post.deleted":
        event["data"] = {"post_id": post_id}
    elif row["content"] is not None:
        event["data"] = {"post": {name: row[name] for name in FIELDS}}
    else:
        event["type"] = VOID
    return Told(author, event_id, rows_before(row), event)


async def create(database: Database, outbox: Outbox, me: int, new: PostNew) -> tuple[Row, bool]:
    """The post, and whether it is new: the same `client_id` again returns the first one."""
    post = await database.fetch_row("post_create", me, new.content, new.privacy, new.client_id)
    if post is None:
        # The first one was deleted between the conflict and the look.
        raise errors.Conflict("The first post of this client_id has just been deleted.")
    if post["created"]:
        outbox.committed(told("post.created", me, post))
    return post, post["created"]


async def get(database: Database, me: int, post_id: int) -> Row:
    """A post that I may see. Raises errors.NotFound."""
    post = await database.fetch_row("post_get", post_id, me)
    if post is None:
        raise errors.NotFound("There is no such post.")
    return post


async def change(
    database: Database, outbox: Outbox, me: int, post_id: int, patch: PostPatch
) -> Row:
    """My post after the change. Raises errors.NotFound, Forbidden for another's."""
    given = patch.model_fields_set
    if given:
        post = await database.fetch_row(
            "post_change",
            post_id,
            me,
            patch.content if "content" in given else None,
            patch.privacy if "privacy" in given else None,
        )
        if post is not None:
            outbox.committed(told("post.updated", me, post))
            return post
    post = await get(database, me, post_id)
    if given or post["author_id"] != me:
        raise errors.Forbidden(_NOT_YOURS)
    return post


async def delete(
    database: Database, outbox: Outbox, me: int, token_version: int, post_id: int
) -> None:
    """Delete mine, or any as a superuser with a token of the newest version.

    Raises errors.NotFound, Forbidden for another's.
    """
    gone = await database.fetch_row("post_remove", post_id, me, token_version)
    if gone is None:
        await get(database, me, post_id)
        raise errors.Forbidden(_NOT_YOURS)
    outbox.committed(told("post.deleted", gone["author_id"], gone))


async def wall(
    database: Database,
    users: BatchReader[int, Profile],
    me: int,
    author_id: int,
    before: int,
    limit: int,
) -> Sequence[Row]:
    """An author's posts that I may see, newest first. Raises errors.NotFound."""
    posts = await database.fetch("post_wall", author_id, me, before, limit)
    if not posts and await users.get(author_id) is None:
        raise errors.NotFound("There is no such user.")
    return posts


async def feed_marks(database: Database, user_ids: Sequence[int]) -> Mapping[int, Mark]:
    """By user: what changes with everything that their feed shows."""
    return {row[0]: tuple(row) for row in await database.fetch("feed_marks", user_ids)}


async def feed(
    database: Database, me: int, cursor: str | None, limit: int, *, posts_max: int
) -> tuple[Sequence[Row], str | None]:
    """My friends' posts, newest first, and the cursor of the next page.

    The cursor is `<id of the last post>-<posts so far>`. A cursor is the client's, who may write
    whatever they like into it, so how far back a page begins is counted in the database. (The
    number is for processes of before, which believe it.)
    """
    before, seen = ID_MAX, 0
    if cursor is not None:
        before = int(cursor.partition("-")[0])
        reached = await database.fetch_row("feed_reached", me, before, posts_max)
        assert reached is not None  # a count is one row  # noqa: S101
        seen = reached["posts"]
    if seen >= posts_max:
        return [], None
    # One more than is shown says whether anything follows.
    posts = await database.fetch("post_feed", me, before, min(limit + 1, posts_max - seen))
    shown, more = first(posts, limit)
    return shown, f"{shown[-1]['id']}-{seen + limit}" if more else None
