"""FRAMES: the one table of what is said over the websocket, in either direction.

Frames of clients are parsed by it, frames of nodes are built by it; `/asyncapi.json` and the tests
of the live contract are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hlfast import codec, errors
from hlfast.dialogs.schemas import Message
from hlfast.posts.schemas import Post
from hlfast.web.asyncapi import Frame


def _examples(*frames: dict[str, Any]) -> ConfigDict:
    """What the documentation shows: a frame of each type of a model."""
    return ConfigDict(json_schema_extra={"examples": list(frames)})


_EVENT = {"cursor": "558868930054119.1a21f05a77500000000.3", "event_id": "o48213"}
_POST = {
    "id": 512,
    "author_id": 7,
    "content": "The sourdough lives! 🍞",
    "privacy": "friends",
    "created_at": "2026-05-04T09:30:00.123456Z",
    "updated_at": "2026-05-04T09:30:00.123456Z",
}
_EDITED = {"content": "The sourdough lives, day 9! 🍞", "updated_at": "2026-05-04T09:41:12.5Z"}
_MESSAGE = {
    "id": 31,
    "from_user_id": 7,
    "to_user_id": 1,
    "content": "Are you there?",
    "client_id": "8f14e45f",
    "created_at": "2026-05-04T09:42:00.25Z",
    "read": False,
}


class Hello(BaseModel):
    """The first frame. `online`: ids of friends that are online now."""

    model_config = _examples(
        {
            "type": "hello",
            "user_id": 1,
            "node": "ws1-8001-2ab464",
            "cursor": "558868930054119.1a21f05a77500000000.2",
            "online": [7, 12],
        }
    )

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

    model_config = _examples({"type": "resumed", "recovered": True})

    type: Literal["resumed"]
    recovered: bool


class _Event(BaseModel):
    """A position in the log to resume from, and an id that a repeat has, too."""

    cursor: str
    event_id: str


class PostWritten(_Event):
    """A friend's post is new, or was changed."""

    model_config = _examples(
        {"type": "post.created", **_EVENT, "post": _POST},
        {"type": "post.updated", **_EVENT, "post": {**_POST, **_EDITED}},
    )

    type: Literal["post.created", "post.updated"]
    post: Post


class PostDeleted(_Event):
    """A friend's post is gone."""

    model_config = _examples({"type": "post.deleted", **_EVENT, "post_id": 512})

    type: Literal["post.deleted"]
    post_id: int


class MessageCreated(_Event):
    """A message to me, or my own on every socket of mine."""

    model_config = _examples({"type": "message.created", **_EVENT, "message": _MESSAGE})

    type: Literal["message.created"]
    message: Message


class MessageRead(_Event):
    """`user_id` has read the messages of `peer_id` up to this one."""

    model_config = _examples(
        {"type": "message.read", **_EVENT, "user_id": 1, "peer_id": 7, "up_to": 31}
    )

    type: Literal["message.read"]
    user_id: int
    peer_id: int
    up_to: int


class FriendshipChanged(_Event):
    """Between me and this user: they asked me, we are friends, we are not any more."""

    model_config = _examples(
        *(
            {"type": kind, **_EVENT, "user_id": 7}
            for kind in ("friend.requested", "friend.added", "friend.removed")
        )
    )

    type: Literal["friend.requested", "friend.added", "friend.removed"]
    user_id: int


class FriendTyping(BaseModel):
    """A friend is writing to me."""

    model_config = _examples({"type": "typing", "user_id": 7})

    type: Literal["typing"]
    user_id: int


class Presence(BaseModel):
    """A friend came online, or left. Never replayed."""

    model_config = _examples({"type": "presence", "user_id": 7, "online": True})

    type: Literal["presence"]
    user_id: int
    online: bool


class Error(BaseModel):
    """A frame of mine was not acceptable."""

    model_config = _examples(
        {"type": "error", "code": "not_friends", "detail": "Only friends see that you are typing."}
    )

    type: Literal["error"]
    code: str
    detail: str


class LabNumbers(BaseModel):
    """What the node has counted since it started, and what it is at now.

    Of two of them, the differences are what it did between their clocks. Times are seconds; the
    lag is that of events, from their submission to the last write.
    """

    model_config = _examples(
        {
            "type": "lab",
            "node": "ws1-8001-2ab464",
            "clock_s": 81.25,
            "cpu_s": 6.5,
            "sockets": 412,
            "users": 398,
            "readers_behind": 0,
            "frames": 90210,
            "writes": 70144,
            "events": 5120,
            "bounds_s": [0.001, 0.0025],
            "lags": [4800, 301, 19],
        }
    )

    type: Literal["lab"]
    node: str
    clock_s: float
    cpu_s: float
    sockets: int
    users: int
    readers_behind: int
    frames: int
    writes: int
    events: int
    bounds_s: list[float]
    lags: list[int]


class Lab(BaseModel):
    """I ask what the node is at: answered to superusers, where HLFAST_LAB is on."""

    model_config = ConfigDict(strict=True) | _examples({"type": "lab"})

    type: Literal["lab"]


class Typing(BaseModel):
    """I am writing to this friend."""

    model_config = ConfigDict(strict=True) | _examples({"type": "typing", "user_id": 7})

    type: Literal["typing"]
    user_id: int


class Token(BaseModel):
    """A fresh access token, before the old one expires."""

    model_config = ConfigDict(strict=True) | _examples(
        {"type": "token", "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk"}
    )

    type: Literal["token"]
    access_token: Annotated[str, Field(pattern=r"^[ -~]*$")]


FRAMES: tuple[Frame, ...] = (
    Frame(Hello),
    Frame(Resumed),
    Frame(PostWritten),
    Frame(PostDeleted),
    Frame(MessageCreated),
    Frame(MessageRead),
    Frame(FriendshipChanged),
    Frame(FriendTyping),
    Frame(Presence),
    Frame(Error),
    Frame(LabNumbers, is_answer=True),
    Frame(Typing, from_client=True),
    Frame(Token, from_client=True),
    Frame(Lab, from_client=True),
)

# Of the frames of nodes the fields beside `type`, of those of clients the model, by type.
_FIELDS = {kind: frame.fields for frame in FRAMES if not frame.from_client for kind in frame.types}
_NOTHING: frozenset[str] = frozenset()
_MODELS = {kind: frame.model for frame in FRAMES if frame.from_client for kind in frame.types}


def build(kind: str, fields: Mapping[str, Any]) -> bytes:
    """The JSON of a node's frame. Raises ValueError if it lacks a field that the table has.

    Events of a newer release pass as they are: of a type, or with a field, that is unknown here.
    """
    if not _FIELDS.get(kind, _NOTHING) <= fields.keys():
        raise ValueError(f"a frame {kind} lacks a field")
    return codec.encode({"type": kind, **fields})


def parse(text: str) -> BaseModel:
    """A client's frame. Raises errors.Malformed, which never repeats the input."""
    message = codec.decode(text.encode())
    kind = message.get("type") if isinstance(message, dict) else None
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise errors.Malformed(f"The frame's type is none of: {', '.join(_MODELS)}.")
    try:
        return model.model_validate(message)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise errors.Malformed(f"{found['loc'][0]}: {found['msg']}") from None
