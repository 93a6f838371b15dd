"""Who is connected here, and who cares about whom: all that delivery looks up."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from hlfast.live.event import Friendship

# Ended friendships remembered for one user: their late news are seconds old, not more.
_GONE_MAX = 256


class Socket(Protocol):
    """What a delivery needs of a connection: events up to `after_seq` are not for it."""

    after_seq: int

    def queue(self, frame: bytes) -> None:
        """Write it soon, together with others."""


class Follower:
    """A user with sockets here. There are ten thousand, so friends are arrays of numbers."""

    __slots__ = ("friends", "gone", "id", "sockets", "versions")

    def __init__(self, user_id: int) -> None:
        self.id = user_id
        self.sockets: list[Socket] = []
        self.friends = array("i")
        # Of each pair, beside the friend; older news of it is ignored.
        self.versions = array("q")
        # The same of pairs that are friends no longer.
        self.gone: dict[int, int] | None = None


class Interest:
    """Followers by id, and by the authors whose friends they are.

    Most authors have one follower here: that one stands alone, without a dict around it. (A list
    would be smaller, and ten thousand leaving a celebrity at once would search it from end to end.)
    """

    def __init__(self) -> None:
        self._followers: dict[int, Follower] = {}
        self._of_author: dict[int, Follower | dict[Follower, None]] = {}

    def __len__(self) -> int:
        return len(self._followers)

    def __iter__(self) -> Iterator[Follower]:
        return iter(self._followers.values())

    def get(self, user_id: int) -> Follower | None:
        """A user with sockets here."""
        return self._followers.get(user_id)

    def add(self, user_id: int, friends: Iterable[tuple[int, int]]) -> Follower:
        """A user whose first socket came: friends with the version of the pair."""
        follower = self._followers[user_id] = Follower(user_id)
        for friend, version in friends:
            follower.friends.append(friend)
            follower.versions.append(version)
            self._follow(friend, follower)
        return follower

    def remove(self, follower: Follower) -> None:
        """A user whose last socket is gone."""
        del self._followers[follower.id]
        for friend in follower.friends:
            self._unfollow(friend, follower)

    def of(self, author: int) -> Sequence[Follower]:
        """The author's friends that are here; a snapshot only if there are several."""
        found = self._of_author.get(author)
        if found is None:
            return ()
        return tuple(found) if isinstance(found, dict) else (found,)

    def apply(self, change: Friendship) -> None:
        """A friendship began or ended. Of a pair's news only the newest counts."""
        one, other = change.pair
        for user, friend in ((one, other), (other, one)):
            follower = self._followers.get(user)
            if follower is not None:
                self.apply_to(follower, friend, change)

    def apply_to(self, follower: Follower, friend: int, change: Friendship) -> None:
        """The same, for one of the two."""
        friends, versions, version = follower.friends, follower.versions, change.version
        if friend in friends:
            place = friends.index(friend)
            if versions[place] >= version:
                return
            versions[place] = version
            if not change.are_friends:
                del friends[place], versions[place]
                self._unfollow(friend, follower)
                self._note_gone(follower, friend, version)
        elif follower.gone is None or follower.gone.get(friend, 0) < version:
            if change.are_friends:
                friends.append(friend)
                versions.append(version)
                self._follow(friend, follower)
            else:
                self._note_gone(follower, friend, version)

    @staticmethod
    def _note_gone(follower: Follower, friend: int, version: int) -> None:
        if follower.gone is None or len(follower.gone) >= _GONE_MAX:
            follower.gone = {}
        follower.gone[friend] = version

    def _follow(self, author: int, follower: Follower) -> None:
        found = self._of_author.get(author)
        if found is None:
            self._of_author[author] = follower
        elif isinstance(found, dict):
            found[follower] = None
        else:
            self._of_author[author] = {found: None, follower: None}

    def _unfollow(self, author: int, follower: Follower) -> None:
        found = self._of_author[author]
        if not isinstance(found, dict):
            del self._of_author[author]
            return
        del found[follower]
        if len(found) == 1:
            self._of_author[author] = next(iter(found))
