"""What goes into and comes out of the dialogs' endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hlfast.db.database import Row
from hlfast.ids import ID_MAX
from hlfast.profiles import User
from hlfast.web.fields import (
    After,
    Before,
    Body,
    Content,
    Limit,
    Listing,
    OptionalClientId,
    Query,
    example,
    said,
)


class MessageNew(Body):
    """A message. The same `client_id` again in the same dialog is the same message."""

    model_config = example({"content": "Hi!", "client_id": "my-1st-message"})

    content: Content
    client_id: OptionalClientId = None


class ReadMark(Body):
    """Everything up to this message is read."""

    model_config = example({"up_to": 1})

    up_to: Annotated[
        int,
        said("The id of a message; later ones stay unread.", 31),
        # Described only: others are ids, too, under which there is no message (404).
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": ID_MAX}),
    ]


class Message(BaseModel):
    """A message; `id` counts 1, 2, 3 … within the dialog."""

    id: Annotated[int, said("Its number in the dialog, in the order of commit.", 31)]
    from_user_id: Annotated[int, said("Who wrote it.", 7)]
    to_user_id: Annotated[int, said("To whom.", 1)]
    content: Annotated[str, said("What it says.", "Are you there?")]
    client_id: Annotated[str | None, said("What its client called it.", "8f14e45f")]
    created_at: Annotated[datetime, said("When it was written.", "2026-05-04T09:42:00.25Z")]
    read: Annotated[bool, said("Whether the other one has read it.", False)]


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


def show_page(messages: Iterable[Row], me: int, other: int) -> list[dict[str, Any]]:
    """Messages of a page, from its rows: these are taken by position, which is cheaper."""
    to = {me: other, other: me}
    return [
        {
            "id": id,
            "from_user_id": author,
            "to_user_id": to[author],
            "content": content,
            "client_id": client_id,
            "created_at": created_at,
            "read": read,
        }
        for id, author, content, client_id, created_at, read in messages
    ]


class MessagePage(Query):
    """Newest first below `before`, or oldest first above `after`."""

    before: Annotated[Before | None, said("`next` of a page of newest first.", 31)] = None
    after: Annotated[After | None, said("`next` of a page of oldest first, or 0.", 31)] = None
    limit: Limit = 20

    @model_validator(mode="after")
    def _one_direction(self) -> MessagePage:
        if self.before is not None and self.after is not None:
            raise PydanticCustomError("value_error", "before and after exclude each other")
        return self


class Dialog(BaseModel):
    """A dialog as one of the two sees it; `unread` counts the other's messages."""

    user: Annotated[User, Field(description="The other one.")]
    last_message: Annotated[Message, Field(description="The newest message of either.")]
    unread: Annotated[int, said("The other's messages that I have not read.", 2)]


class MessageListing(Listing[Message, int]):
    """A page of one dialog."""


class DialogListing(Listing[Dialog, str]):
    """One page. `incomplete` is there, and true, while a part of the dialogs does not answer.

    Those are missing from the page then, and are back in it as soon as their part is.
    """

    incomplete: Annotated[bool, said("Whether some dialogs are missing now.", True)] = False


class DialogPage(Query):
    """`before` is the `next` of the page before."""

    before: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]{1,15}[0-9]?-[1-9][0-9]{0,9}$")] | None,
        said("`next` of the page before.", "1777887720250000-7"),
    ] = None
    limit: Limit = 20
