"""What goes into and comes out of the posts' endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hlfast import codec
from hlfast.db.database import Row
from hlfast.web.fields import Body, ClientId, Content, Limit, Query, example

Privacy = Literal["public", "friends"]


class PostNew(Body):
    """A post. The same `client_id` again is the same post."""

    model_config = example(
        {"content": "Hello, world", "privacy": "public", "client_id": "my-1st-post"}
    )

    content: Content
    privacy: Privacy = "public"
    client_id: ClientId | None = None


class PostPatch(Body):
    """A change: an absent field stays."""

    model_config = example({"privacy": "friends"})

    content: Content = ""
    privacy: Privacy = "public"


class Post(BaseModel):
    """A post, to somebody who may see it."""

    id: int
    author_id: int
    content: str
    privacy: Privacy
    created_at: datetime
    updated_at: datetime


FIELDS = tuple(Post.model_fields)


def show(posts: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of any `post_…` statement as Posts; the columns after them are not shown."""
    return codec.rows(FIELDS, posts)


class FeedPage(Query):
    """`before` is the `next` of the page before: the last post's id and how many came so far."""

    before: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,15}(-[0-9]{1,9})?$")] | None = None
    limit: Limit = 20
