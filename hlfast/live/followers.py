"""Which users here follow an author: millions of pairs, in eight bytes each and a little more."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

_FOLLOWER = (1 << 32) - 1
# Pairs of one bucket, on average, beyond which another bucket is added.
_PAIRS = 128
# An author with so many followers has them in a set, out of the bucket: of ten thousand who leave a
# celebrity at once each would move all that come behind.
_CROWD = 1024


class Followers:
    """Pairs of an author and a follower, in sorted buckets.

    The table grows by one bucket at a time (linear hashing), so that nobody waits for it to be laid
    out anew. A dict of authors takes ten times as much when most of them have one follower here.
    """

    def __init__(self) -> None:
        # Each pair is the author's id in the upper half and the follower's in the lower one.
        self._buckets: list[array[int]] = [array("q")]
        self._pairs = 0
        self._crowds: dict[int, set[int]] = {}

    def of(self, author: int) -> Sequence[int]:
        """An author's followers."""
        if self._crowds and (crowd := self._crowds.get(author)) is not None:
            return tuple(crowd)
        bucket = self._bucket(author)
        start = bisect_left(bucket, author << 32)
        end = bisect_left(bucket, author + 1 << 32, start)
        return [pair & _FOLLOWER for pair in bucket[start:end]]

    def add(self, author: int, follower: int) -> None:
        """A pair that is not there."""
        if self._crowds and (crowd := self._crowds.get(author)) is not None:
            crowd.add(follower)
            return
        bucket, pair = self._bucket(author), author << 32 | follower
        bucket.insert(bisect_left(bucket, pair), pair)
        self._pairs += 1
        if len(bucket) > _CROWD:
            self._make_crowd(author)
        if self._pairs > _PAIRS * len(self._buckets):
            self._split()

    def remove(self, author: int, follower: int) -> None:
        """A pair that is there."""
        if self._crowds and (crowd := self._crowds.get(author)) is not None:
            crowd.remove(follower)
            if not crowd:
                del self._crowds[author]
            return
        bucket, pair = self._bucket(author), author << 32 | follower
        start = bisect_left(bucket, pair)
        del bucket[bucket.index(pair, start, start + 1)]
        self._pairs -= 1

    def _bucket(self, author: int) -> array[int]:
        count = len(self._buckets)
        half = 1 << count.bit_length() - 1
        place = author & 2 * half - 1
        return self._buckets[place if place < count else place - half]

    def _split(self) -> None:
        """One more bucket, which takes its share of the one that had it so far."""
        count = len(self._buckets)
        half = 1 << count.bit_length() - 1
        before = self._buckets[count - half]
        self._buckets.append(array("q"))
        place = 2 * half - 1
        self._buckets[count - half] = array("q", [x for x in before if x >> 32 & place != count])
        self._buckets[count].extend(x for x in before if x >> 32 & place == count)

    def _make_crowd(self, author: int) -> None:
        """Take an author's followers out of a long bucket, if they are what makes it long."""
        followers = self.of(author)
        if len(followers) <= _CROWD // 2:
            return
        bucket = self._bucket(author)
        others = [pair for pair in bucket if pair >> 32 != author]
        bucket[:] = array("q", others)
        self._pairs -= len(followers)
        self._crowds[author] = set(followers)
