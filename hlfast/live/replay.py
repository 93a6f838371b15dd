"""What a client that was away is told: what one that stayed connected was."""

from __future__ import annotations

from hlfast.live.event import Event
from hlfast.live.interest import Follower
from hlfast.live.tail import Tail


def replay(tail: Tail, follower: Follower, seq: int, bytes_max: int) -> list[bytes] | None:
    """The frames of what happened after an event's number, in order; None if they are too long.

    Of an author's posts those that came while the two were friends.
    """
    events = tail.of_user(follower.id, seq)
    posts: list[Event] = []
    # Of whom from which event on, if not from the first.
    since: dict[int, int] = {}
    for event in events:
        if (change := event.friendship) is not None:
            friend = change.other(follower.id)
            if not change.are_friends:
                posts += tail.of_author(friend, since.get(friend, seq), event.seq)
            since[friend] = event.seq
    for friend in follower.friends:
        posts += tail.of_author(friend, since.get(friend, seq))
    events += posts
    events.sort(key=lambda event: event.seq)
    if sum(event.size_bytes for event in events) > bytes_max:
        return None
    return [event.frame_for(follower.id) for event in events]
