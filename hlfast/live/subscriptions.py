"""Who is connected here, and who cares about whom: all that delivery looks up."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from hlfast.live.event import Friendship
from hlfast.live.followers import Followers

# Ended friendships remembered for one user: their late news are seconds old, not more.
_GONE_MAX = 256
_FOUR_BYTES_MAX = 2**32 - 1


class Socket(Protocol):
    """What a delivery needs of a connection.

    Events up to `after_seq` are not for it, and no users' moves up to `after_move`.
    """

    after_seq: int
    after_move: int

    def queue(self, frames: bytes, count: int = 1) -> None:
        """Write so many whole frames soon, together with others."""


class Subscriber:
    """A user with sockets here. There are ten thousand, so friends are arrays of numbers."""

    __slots__ = ("friends", "gone", "id", "sockets", "versions")

    def __init__(self, user_id: int) -> None:
        self.id = user_id
        self.sockets: list[Socket] = []
        self.friends = array("i")
        # Of each pair, beside the friend; older news of it is ignored. In four bytes, while they
        # fit into those.
        self.versions = array("I")
        # Versions of pairs that are friends no longer, by the other user.
        self.gone: dict[int, int] | None = None

    def set_version(self, index: int, version: int) -> None:
        """The version of the pair with the friend of this index, or of one that was just added."""
        if version > _FOUR_BYTES_MAX and self.versions.typecode == "I":
            self.versions = array("q", self.versions)
        self.versions[index : index + 1] = array(self.versions.typecode, [version])


class Subscriptions:
    """Subscribers by id, and by the authors whose friends they are."""

    def __init__(self) -> None:
        self._subscribers: dict[int, Subscriber] = {}
        self._followers = Followers()

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._subscribers.values())

    def clear(self) -> None:
        """Forget all subscribers, and whom they are subscribed to."""
        self._subscribers.clear()
        self._followers = Followers()

    def get(self, user_id: int) -> Subscriber | None:
        """A user with sockets here."""
        return self._subscribers.get(user_id)

    def add(self, user_id: int, friends: Iterable[tuple[int, int]]) -> Subscriber:
        """A user whose first socket came: friends with the version of the pair."""
        subscriber = self._subscribers[user_id] = Subscriber(user_id)
        for friend, version in friends:
            subscriber.set_version(len(subscriber.friends), version)
            subscriber.friends.append(friend)
            self._followers.add(friend, user_id)
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """A user whose last socket is gone."""
        del self._subscribers[subscriber.id]
        for friend in subscriber.friends:
            self._followers.remove(friend, subscriber.id)

    def of(self, author: int) -> Sequence[Subscriber]:
        """A snapshot of the author's friends that are here."""
        return [self._subscribers[follower] for follower in self._followers.of(author)]

    def apply(self, change: Friendship) -> None:
        """A friendship began or ended. Of a pair's news only the newest counts."""
        one, other = change.pair
        for user, friend in ((one, other), (other, one)):
            subscriber = self._subscribers.get(user)
            if subscriber is not None:
                self.apply_to(subscriber, friend, change)

    def apply_to(self, subscriber: Subscriber, friend: int, change: Friendship) -> None:
        """Apply a change of a friendship to one of the two."""
        friends, version = subscriber.friends, change.version
        if friend in friends:
            index = friends.index(friend)
            if subscriber.versions[index] >= version:
                return
            subscriber.set_version(index, version)
            if not change.are_friends:
                del friends[index], subscriber.versions[index]
                self._followers.remove(friend, subscriber.id)
                self._note_gone(subscriber, friend, version)
        elif subscriber.gone is None or subscriber.gone.get(friend, 0) < version:
            if change.are_friends:
                subscriber.set_version(len(friends), version)
                friends.append(friend)
                self._followers.add(friend, subscriber.id)
            else:
                self._note_gone(subscriber, friend, version)

    @staticmethod
    def _note_gone(subscriber: Subscriber, friend: int, version: int) -> None:
        if subscriber.gone is None or len(subscriber.gone) >= _GONE_MAX:
            subscriber.gone = {}
        subscriber.gone[friend] = version
