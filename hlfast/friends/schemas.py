"""What comes out of the friends' endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Friendship(BaseModel):
    """Where the two stand after a request."""

    status: Literal["requested", "friends"]
