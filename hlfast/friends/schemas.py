"""What comes out of the friends' endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from hlfast.web.fields import PageAfter


class Friendship(BaseModel):
    """Where the two stand after a request."""

    status: Literal["requested", "friends"]


class FriendshipStatus(BaseModel):
    """Where the two stand: `requested` if I asked, `asked` if they did."""

    status: Literal["friends", "requested", "asked", "none"]


class RequestPage(PageAfter):
    """Who asked me, or with `out` whom I asked."""

    direction: Literal["in", "out"] = "in"
