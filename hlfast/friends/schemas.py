"""What comes out of the friends' endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel

from hlfast.web.fields import PageAfter, said


class FriendshipRequest(BaseModel):
    """Where the two stand after a request."""

    status: Annotated[Literal["requested", "friends"], said("How it ended.", "requested")]


class FriendshipStatus(BaseModel):
    """Where the two stand: `requested` if I asked, `asked` if they did."""

    status: Annotated[
        Literal["friends", "requested", "asked", "none"], said("How it is now.", "asked")
    ]


class RequestPage(PageAfter):
    """Who asked me, or with `out` whom I asked."""

    direction: Annotated[
        Literal["in", "out"], said("`in`: who asked me; `out`: whom I asked.", "out")
    ] = "in"
