"""Posts, walls and the feed."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any

from hlfast import codec, errors
from hlfast.batching import UNBATCHED, BatchLimits, BatchReader
from hlfast.bounded import Bounded
from hlfast.db.database import Database, Row
from hlfast.events.outbox import Outbox
from hlfast.events.outbox_row import VOID, OutboxRow, rows_before
from hlfast.ids import ID_MAX
from hlfast.posts.encoded import NO_ITEMS, Encoding, Items, PageReader, from_lines, from_rows
from hlfast.posts.schemas import FIELDS, PostNew, PostPatch
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache, Version

_MANY_FRIENDS = 400
# Of so many users it is remembered whether they have. Who asks once is not worth the look.
_USERS_MAX = 20_000
_ASKED_ONCE = -1
_NOT_YOURS = "Only its author may do this."


def outbox_row(row: Row) -> OutboxRow:
    """A row of the outbox about a post."""
    return _outbox_row(row["kind"], row["user_id"], row)


def _outbox_row(kind: str, author: int, row: Row) -> OutboxRow:
    """The event of a change, from its own row or from what stayed in the outbox.

    Of a post that is gone by now only the deletion is published: its other events are void.
    """
    post_id, event_id = row["id"], row["event_id"]
    event: dict[str, Any] = {"id": f"o{event_id}", "type": kind, "author": author}
    if kind == "post.deleted":
        event["data"] = {"post_id": post_id}
    elif row["content"] is not None:
        event["data"] = {"post": {name: row[name] for name in FIELDS}}
    else:
        event["type"] = VOID
    return OutboxRow(author, event_id, rows_before(row), event)


class Posts:
    """Posts, and the pages of them that a user may see.

    `reads` is the database of walls and feeds: a replica may answer them. Pages share statements
    within `page_limits`. A feed shows the newest `feed_posts_max` posts.

    A feed is read from the walls of all friends. Of somebody with many friends it is read from the
    newest posts of everybody instead, if `feeds_from_newest`: the more friends there are, the fewer
    of those posts are another's. Where friends write so seldom that this does not fill a page, it
    is their walls again.
    """

    def __init__(
        self,
        database: Database,
        reads: Database,
        profiles: Profiles,
        outbox: Outbox,
        cache: ResponseCache,
        *,
        limits: BatchLimits,
        page_limits: BatchLimits,
        feed_posts_max: int,
        encode_at_write: bool,
        feeds_from_newest: bool,
    ) -> None:
        self._database = database
        self._reads = reads
        self._profiles = profiles
        self._outbox = outbox
        self._cache = cache
        self._feed_versions = BatchReader(self._read_feed_versions, limits)
        self._feed_posts_max = feed_posts_max
        # By user: how many of the newest posts their feed looks at, 0 for none, or _ASKED_ONCE.
        self._newest: Bounded[int, int] = Bounded(0)
        self._encoding = Encoding(database, on=encode_at_write)
        # By the statement that reads the same from columns.
        self._pages = {
            "post_wall": PageReader(
                reads, page_limits, "post_wall_encoded", "post_wall_encoded_many"
            ),
            "post_feed": PageReader(
                reads, page_limits, "post_feed_encoded", "post_feed_encoded_many"
            ),
            "post_feed_newest": PageReader(reads, UNBATCHED, "post_feed_newest_encoded"),
        }
        self.read_feeds_from_newest(feeds_from_newest)

    def encode_at_write(self, is_on: bool) -> None:
        """Store the JSON of posts beside them from now on, or of none."""
        self._encoding.on = is_on

    def read_feeds_from_newest(self, is_on: bool) -> None:
        """Read feeds from the newest posts of everybody from now on, or none of them."""
        self._newest.weight_max = _USERS_MAX if is_on else 0
        self._newest.clear()

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._encoding.close()

    async def create(self, me: int, new: PostNew) -> tuple[Row, bool]:
        """The post, and whether it is new: the same `client_id` again returns the first one."""
        encoded = self._encoding.of(new.content)
        post = await self._database.fetch_row(
            "post_create", me, new.content, new.privacy, new.client_id, encoded
        )
        if post is None:
            # The first one was deleted between the conflict and the look.
            raise errors.Conflict("The first post of this client_id has just been deleted.")
        if post["created"]:
            self._outbox.committed(_outbox_row("post.created", me, post))
        return post, post["created"]

    async def get(self, me: int, post_id: int) -> Row:
        """A post that I may see. Raises errors.NotFound."""
        post = await self._database.fetch_row("post_get", post_id, me)
        if post is None:
            raise errors.NotFound("There is no such post.")
        return post

    async def change(self, me: int, post_id: int, patch: PostPatch) -> Row:
        """My post after the change. Raises errors.NotFound, Forbidden for another's."""
        given = patch.model_fields_set
        if given:
            content = patch.content if "content" in given else None
            post = await self._database.fetch_row(
                "post_change",
                post_id,
                me,
                content,
                patch.privacy if "privacy" in given else None,
                self._encoding.of(content),
            )
            if post is not None:
                self._outbox.committed(_outbox_row("post.updated", me, post))
                return post
        post = await self.get(me, post_id)
        if given or post["author_id"] != me:
            raise errors.Forbidden(_NOT_YOURS)
        return post

    async def delete(self, me: int, token_version: int, post_id: int) -> None:
        """Delete mine, or any as a superuser with a token of the newest version.

        Raises errors.NotFound, Forbidden for another's.
        """
        gone = await self._database.fetch_row("post_remove", post_id, me, token_version)
        if gone is None:
            await self.get(me, post_id)
            raise errors.Forbidden(_NOT_YOURS)
        self._outbox.committed(_outbox_row("post.deleted", gone["author_id"], gone))

    async def wall(self, me: int, author_id: int, before: int, limit: int) -> bytes:
        """The page of an author's posts that I may see, newest first, as JSON.

        Raises errors.NotFound.
        """
        posts = await self._read_page("post_wall", author_id, me, before, limit + 1, limit=limit)
        if posts == NO_ITEMS:
            await self._profiles.need(author_id)
        return codec.listing(*posts)

    def feed(self, me: int, cursor: str | None, limit: int) -> Awaitable[bytes]:
        """The page of my friends' posts, newest first, as JSON.

        Not a coroutine of its own: every one of them costs each request.
        """
        newest = self._newest.get(me)
        if newest != 0:
            return self._feed_after_look(me, cursor, limit, newest)
        return self._feed_of_walls(me, cursor, limit)

    def _feed_of_walls(self, me: int, cursor: str | None, limit: int) -> Awaitable[bytes]:
        return self._cache.serve(
            ("feed", me, cursor, limit),
            partial(self._feed_versions.get, me),
            partial(self._make_feed, me, cursor, limit, 0),
        )

    async def _feed_after_look(
        self, me: int, cursor: str | None, limit: int, newest: int | None
    ) -> bytes:
        """The page of a user whose feed is read from the newest posts, or who is not known yet.

        `newest`: what is remembered of the user; None for nothing.
        """
        if newest is None:
            self._newest.put(me, _ASKED_ONCE)
        elif newest == _ASKED_ONCE:
            newest = await self._look_at_newest(me)
        if newest:
            # To read it is less work than to ask whether it has changed.
            return await self._make_feed(me, cursor, limit, newest)
        return await self._feed_of_walls(me, cursor, limit)

    async def _look_at_newest(self, me: int) -> int:
        """How many of everybody's newest posts are looked at for my feed; 0: the friends' walls."""
        row = await self._reads.fetch_row("friend_count", me)
        friends = 0 if row is None else row["friends"]
        # About half the work of a look at every friend's wall.
        newest = friends // 2 if friends >= _MANY_FRIENDS else 0
        self._newest.put(me, newest)
        return newest

    async def _make_feed(self, me: int, cursor: str | None, limit: int, newest: int) -> bytes:
        """A page of the feed as JSON, made of its rows.

        The cursor is `<id of the last post>-<posts so far>`. A cursor is the client's, who may
        write whatever they like into it, so how far back a page begins is counted in the database.
        (The number is for processes of before, which believe it.)
        """
        before, seen = ID_MAX, 0
        if cursor is not None:
            before = int(cursor.partition("-")[0])
            seen = await self._count_reached(me, before, newest)
        left = self._feed_posts_max - seen
        if left <= 0:
            return codec.listing(*NO_ITEMS)
        # One more than is shown says whether anything follows.
        posts, last = await self._read_feed(me, before, min(limit + 1, left), limit, newest)
        return codec.listing(posts, None if last is None else f"{last}-{seen + limit}")

    async def _read_feed(self, me: int, before: int, count: int, limit: int, newest: int) -> Items:
        """At most `limit` of my friends' posts, looked for among `count`."""
        if newest and count > limit:
            asked = (me, before, count, newest)
            posts = await self._read_page("post_feed_newest", *asked, limit=limit)
            if posts.cursor is not None:
                return posts
            # There may be older ones.
            if before == ID_MAX:
                self._newest.put(me, 0)
        return await self._read_page("post_feed", me, before, count, limit=limit)

    async def _count_reached(self, me: int, before: int, newest: int) -> int:
        """How many of my friends' posts are not older than this one, as far as a feed goes."""
        reached = None
        if newest:
            reached = await self._reads.fetch_row(
                "feed_reached_newest", me, before, self._feed_posts_max, newest
            )
        if reached is None:
            reached = await self._reads.fetch_row("feed_reached", me, before, self._feed_posts_max)
        assert reached is not None  # a count is one row  # noqa: S101
        return int(reached["posts"])

    async def _read_page(self, statement: str, *args: int, limit: int) -> Items:
        """A page, from JSON if all of its rows have any, else from columns."""
        if self._encoding.on:
            items = from_lines(await self._pages[statement].get(args), limit)
            if items is not None:
                return items
        rows = await self._reads.fetch(statement, *args)
        self._encoding.put(rows)
        return from_rows(rows, limit)

    async def _read_feed_versions(self, user_ids: Sequence[int]) -> Mapping[int, Version]:
        """Version of each user's feed: numbers, one of which changes with whatever it shows."""
        rows = await self._reads.fetch("feed_versions", user_ids)
        return {row[0]: tuple(row) for row in rows}
