"""What goes into and comes out of the dialogs' endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from hlfast.db.database import Row
from hlfast.profiles import User
from hlfast.web.fields import After, Before, Body, ClientId, Content, Limit, Listing, Query, example


class MessageNew(Body):
    """A message. The same `client_id` again in the same dialog is the same message."""

    model_config = example({"content": "Hi!", "client_id": "my-1st-message"})

    content: Content
    client_id: ClientId | None = None


class ReadMark(Body):
    """Everything up to this message is read."""

    model_config = example({"up_to": 1})

    up_to: int


class Message(BaseModel):
    """A message; `id` counts 1, 2, 3 … within the dialog."""

    id: int
    from_user_id: int
    to_user_id: int
    content: str
    client_id: str | None
    created_at: datetime
    read: bool


def show(message: Row, me: int, other: int) -> dict[str, Any]:
    """A row of a message as a Message, between these two users, in whichever order."""
    author = message["from_user_id"]
    return {
        "id": message["id"],
        "from_user_id": author,
        "to_user_id": other if author == me else me,
        "content": message["content"],
        "client_id": message["client_id"],
        "created_at": message["created_at"],
        "read": message["read"],
    }


class MessagePage(Query):
    """Newest first below `before`, or oldest first above `after`."""

    before: Before | None = None
    after: After | None = None
    limit: Limit = 20

    @model_validator(mode="after")
    def _one_direction(self) -> MessagePage:
        if self.before is not None and self.after is not None:
            raise PydanticCustomError("value_error", "before and after exclude each other")
        return self


class Dialog(BaseModel):
    """A dialog as one of the two sees it; `unread` counts the other's messages."""

    user: User
    last_message: Message
    unread: int


class DialogListing(Listing[Dialog]):
    """One page. `incomplete` is there, and true, while a part of the dialogs does not answer.

    Those are missing from the page then, and are back in it as soon as their part is.
    """

    incomplete: bool = False


class DialogPage(Query):
    """`before` is the `next` of the page before."""

    before: Annotated[str, Field(pattern=r"^[0-9]{1,15}[0-9]?-[1-9][0-9]{0,9}$")] | None = None
    limit: Limit = 20
