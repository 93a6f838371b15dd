"""The frames for a client that was away: those of one that stayed, as far as seen now."""

from __future__ import annotations

from hlfast.live.event import Event
from hlfast.live.history import History
from hlfast.live.subscriptions import Subscriber


def replay(
    history: History, subscriber: Subscriber, seq: int, bytes_max: int
) -> list[bytes] | None:
    """The frames of what happened after an event's number, in order; None if they are too long.

    Of an author's posts those that came while the two were friends, if they are friends now. A
    post that was changed since has its newest text; of one that was deleted only the deletion is
    there.
    """
    events = history.of_user(subscriber.id, seq)
    # Of whom from which event on, if not from the first; and times that are over.
    since: dict[int, int] = {}
    over: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        if (change := event.friendship) is not None:
            friend = change.other(subscriber.id)
            if not change.are_friends:
                over.setdefault(friend, []).append((since.get(friend, seq), event.seq))
            since[friend] = event.seq
    posts: list[Event] = []
    for friend in subscriber.friends:
        for begin, end in over.get(friend, ()):
            posts += history.of_author(friend, begin, end)
        posts += history.of_author(friend, since.get(friend, seq))
    events += posts
    events.sort(key=lambda event: event.seq)
    frames: list[bytes] = []
    size = 0
    for event in events:
        frame = history.frame_now(event, subscriber.id)
        if frame is not None:
            frames.append(frame)
            size += len(frame)
        if size > bytes_max:
            return None
    return frames
