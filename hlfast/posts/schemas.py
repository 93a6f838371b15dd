"""What goes into and comes out of the posts' endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hlfast import codec
from hlfast.db.database import Row
from hlfast.web.fields import (
    Body,
    Content,
    Limit,
    Listing,
    OptionalClientId,
    Query,
    example,
    said,
)

_WRITTEN = "2026-05-04T09:30:00.123456Z"
Privacy = Annotated[Literal["public", "friends"], said("Who may see it.", "friends")]


class PostNew(Body):
    """A post. The same `client_id` again is the same post."""

    model_config = example(
        {"content": "Hello, world", "privacy": "public", "client_id": "my-1st-post"}
    )

    content: Content
    privacy: Privacy = "public"
    client_id: OptionalClientId = None


class PostPatch(Body):
    """A change: an absent field stays."""

    model_config = example({"privacy": "friends"})

    content: Content = ""
    privacy: Privacy = "public"


class Post(BaseModel):
    """A post, to somebody who may see it."""

    id: Annotated[int, said("Which post it is; later ones have higher ids.", 512)]
    author_id: Annotated[int, said("Who wrote it.", 7)]
    content: Annotated[str, said("What it says.", "The sourdough lives! 🍞")]
    privacy: Privacy
    created_at: Annotated[datetime, said("When it was written.", _WRITTEN)]
    updated_at: Annotated[datetime, said("When it was changed last.", _WRITTEN)]


class PostListing(Listing[Post, int]):
    """A page of posts, newest first."""


class FeedListing(Listing[Post, str]):
    """A page of the feed, newest first."""


FIELDS = tuple(Post.model_fields)


def show(posts: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of any `post_…` statement as Posts; the columns after them are not shown."""
    return codec.rows(FIELDS, posts)


class FeedPage(Query):
    """`before` is the `next` of the page before: the last post's id and how many came so far."""

    before: Annotated[
        Annotated[str, Field(pattern=r"^[1-9][0-9]{0,15}(-[0-9]{1,9})?$")] | None,
        said("`next` of the page before.", "512-20"),
    ] = None
    limit: Limit = 20
