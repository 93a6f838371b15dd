"""What happened, as it stands in the log, and its frames.

In the log an event is an object: `id` (stable: a repeat bears the same), `type`, `data` (the
frame's own fields), and whom it concerns: `author` (the author's friends) or `to` (these users).
A friendship's has `pair` (who did it, the other one) and `version` (of the pair, ever growing);
`friend.withdrawn` is the end of what was but a request, and to a client the same as its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hlfast.events.outbox_row import VOID
from hlfast.live.frame_table import Frames
from hlfast.websocket.wire import payload_of, text_frame

_CREATED = "post.created"
_REQUESTED, _ADDED = "friend.requested", "friend.added"
_REMOVED, _WITHDRAWN = "friend.removed", "friend.withdrawn"
# Where the text of a post begins in a frame: within a JSON text it could not stand so.
_TEXT = b',"post":'
_OF_BOTH = (_ADDED, _REMOVED, _WITHDRAWN)


@dataclass(slots=True)
class Event:
    """One event, ready to be written. `seq` counts the events that this process has seen.

    Either `author`, `post` and `frame`, the same for all of the author's friends, or `targets`:
    users, each with a frame. Or nothing, when it is void.
    """

    seq: int
    id: str
    cursor: str
    size_bytes: int
    author: int = 0
    frame: bytes = b""
    targets: tuple[tuple[int, bytes], ...] = ()
    friendship: Friendship | None = None
    post: int = 0
    changes_post: bool = False
    # The event whose text the frame shows, if not its own.
    text_seq: int = 0

    @property
    def shows_text(self) -> bool:
        """Whether it is of a post that is still there, as far as this event tells."""
        return _TEXT in self.frame

    def with_text_of(self, newest: Event) -> bytes:
        """The event's frame with the post as a later event of the same post shows it."""
        own, theirs = payload_of(self.frame), payload_of(newest.frame)
        return text_frame(own[: own.index(_TEXT)] + theirs[theirs.index(_TEXT) :])

    def frame_for(self, user: int) -> bytes:
        """The frame for one of those that the event concerns."""
        return self.frame or dict(self.targets)[user]


@dataclass(frozen=True, slots=True)
class Friendship:
    """The two are friends from this version of their pair on, or no longer."""

    pair: tuple[int, int]
    version: int
    are_friends: bool

    def other(self, user: int) -> int:
        """The other one of the two users."""
        one, other = self.pair
        return other if user == one else one


def read(body: Any, seq: int, cursor: str, frames: Frames) -> Event:
    """An event of the log, with its frames encoded once. Raises KeyError, TypeError, ValueError."""
    kind, event_id = body["type"], body["id"]
    if not isinstance(kind, str) or not isinstance(event_id, str):
        raise TypeError("an event's type and id are texts")
    if kind == VOID:
        return Event(seq, event_id, cursor, 0)
    if "pair" in body:
        return _of_friendship(body, seq, cursor, frames)
    frame = _frame(frames, kind, cursor, event_id, body["data"])
    if "author" in body:
        data = body["data"]
        post = int(data["post"]["id"] if "post" in data else data["post_id"])
        author = int(body["author"])
        return Event(
            seq,
            event_id,
            cursor,
            len(frame),
            author=author,
            frame=frame,
            post=post,
            changes_post=kind != _CREATED,
        )
    targets = tuple((int(user), frame) for user in body["to"])
    return Event(seq, event_id, cursor, len(frame), targets=targets)


def _of_friendship(body: Mapping[str, Any], seq: int, cursor: str, frames: Frames) -> Event:
    kind, event_id = body["type"], body["id"]
    actor, other = map(int, body["pair"])
    shown = _REMOVED if kind == _WITHDRAWN else kind
    targets = [(other, _frame(frames, shown, cursor, event_id, {"user_id": actor}))]
    if kind in _OF_BOTH:
        targets.append((actor, _frame(frames, shown, cursor, event_id, {"user_id": other})))
    friendship = None
    if kind in (_ADDED, _REMOVED):
        friendship = Friendship((actor, other), int(body["version"]), kind == _ADDED)
    size = sum(len(frame) for _, frame in targets)
    return Event(seq, event_id, cursor, size, targets=tuple(targets), friendship=friendship)


def _frame(frames: Frames, kind: str, cursor: str, event_id: str, data: Mapping[str, Any]) -> bytes:
    return text_frame(frames.build(kind, {"cursor": cursor, "event_id": event_id, **data}))
