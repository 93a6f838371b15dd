"""FRAMES: the one table of what is said over the websocket, in either direction.

`/asyncapi.json` and the tests of the live contract are made from it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from hlfast.dialogs.schemas import Message
from hlfast.posts.schemas import Post
from hlfast.web.asyncapi import Frame


class Hello(BaseModel):
    """The first frame. `online`: ids of friends that are online now."""

    type: Literal["hello"]
    user_id: int
    node: str
    cursor: str
    online: list[int]


class Resumed(BaseModel):
    """Only if a cursor was given. False: nothing was replayed, reload over HTTP.

    A replay shows what may be seen now: newest texts, and nothing of posts that were deleted since
    or of authors who are no friends any more.
    """

    type: Literal["resumed"]
    recovered: bool


class _Event(BaseModel):
    """A place in the log to resume from, and an id that a repeat bears, too."""

    cursor: str
    event_id: str


class PostWritten(_Event):
    """A friend's post is new, or was changed."""

    type: Literal["post.created", "post.updated"]
    post: Post


class PostDeleted(_Event):
    """A friend's post is gone."""

    type: Literal["post.deleted"]
    post_id: int


class MessageCreated(_Event):
    """A message to me, or my own on every socket of mine."""

    type: Literal["message.created"]
    message: Message


class MessageRead(_Event):
    """`user_id` has read the messages of `peer_id` up to this one."""

    type: Literal["message.read"]
    user_id: int
    peer_id: int
    up_to: int


class FriendshipChanged(_Event):
    """Between me and this user: they asked me, we are friends, we are not any more."""

    type: Literal["friend.requested", "friend.added", "friend.removed"]
    user_id: int


class TypingTold(BaseModel):
    """A friend is writing to me."""

    type: Literal["typing"]
    user_id: int


class Presence(BaseModel):
    """A friend came online, or left. Never replayed."""

    type: Literal["presence"]
    user_id: int
    online: bool


class Error(BaseModel):
    """A frame of mine was not acceptable."""

    type: Literal["error"]
    code: str
    detail: str


class Typing(BaseModel):
    """I am writing to this friend."""

    type: Literal["typing"]
    user_id: int


class Token(BaseModel):
    """A fresh access token, before the old one expires."""

    type: Literal["token"]
    access_token: str


FRAMES: tuple[Frame, ...] = (
    Frame(Hello),
    Frame(Resumed),
    Frame(PostWritten),
    Frame(PostDeleted),
    Frame(MessageCreated),
    Frame(MessageRead),
    Frame(FriendshipChanged),
    Frame(TypingTold),
    Frame(Presence),
    Frame(Error),
    Frame(Typing, from_client=True),
    Frame(Token, from_client=True),
)
