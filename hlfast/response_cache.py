"""The response cache: encoded answers in memory, each under the version that it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from sys import getsizeof

from hlfast.bounded import Bounded
from hlfast.codec import compact

# A version that is made of several numbers.
Version = tuple[Hashable, ...]
# What is stored of a body that was asked for once: a version that none has.
_UNSEEN: tuple[Hashable, bytes] = (object(), b"")
# What an entry holds beside its key, version and body: its share of the dictionary, which is up to
# six times as large as it is full, the queues' and its objects. Measured by bench.bounded.
_ENTRY_BYTES = 280


class ResponseCache:
    """Bodies by key, each with the version that it shows.

    A version is whatever changes with every change of what is shown. It is read from the database
    for each request, never later than the body that is stored under it: so a body is served only
    if nothing has changed since. What nobody asks for is evicted when all that is held, keys and
    versions included, is more than `bytes_max`; with 0 none is stored.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bodies: Bounded[Hashable, tuple[Hashable, bytes]] = Bounded(bytes_max)
        self._entries = self._bodies.entries
        # Of the looks for a body of the version of now.
        self.hits = 0
        self.misses = 0

    def bound(self, bytes_max: int) -> None:
        """Hold so much from now on; what was held is forgotten."""
        self._bodies.weight_max = bytes_max
        self._bodies.clear()

    @property
    def size_bytes(self) -> int:
        """The bytes of memory that the cache takes, about."""
        return self._bodies.weight

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether the key was asked for before, in whatever version."""
        return key in self._entries

    def get(self, key: Hashable, version: Hashable) -> bytes | None:
        """The body of a key in this version, or None."""
        entry = self._entries.get(key)
        if entry is None or entry.value is None or entry.value[0] != version:
            self.misses += 1
            return None
        self.hits += 1
        entry.is_used = True
        return entry.value[1]

    def put(self, key: Hashable, version: Hashable, body: bytes) -> None:
        """Store a body instead of the one of another version."""
        held = _ENTRY_BYTES + size_of(key) + size_of(version) + size_of(body)
        if held <= self._bodies.weight_max:
            body = compact(body)
        self._bodies.put(key, (version, body), held)

    def put_again(self, key: Hashable, version: Hashable, body: bytes) -> None:
        """Store the body of a key that was asked for before; the first time may be the only one."""
        if key in self._entries:
            self.put(key, version, body)
        else:
            self._remember(key)

    async def serve(
        self,
        key: Hashable,
        version: Callable[[], Awaitable[Hashable]],
        make: Callable[[], Awaitable[bytes]],
    ) -> bytes:
        """The body under a key, made anew unless it is there in the version of now.

        A body that nobody has asked for before is not stored yet: it may be the only time, and
        costs no look at its version then. Where the version is None nothing is stored.
        """
        if key not in self._entries:
            self.misses += 1
            self._remember(key)
            return await make()
        now = await version()
        body = self.get(key, now)
        if body is None:
            body = await make()
            if now is not None:
                self.put(key, now, body)
        return body

    def _remember(self, key: Hashable) -> None:
        """A key was asked for."""
        self._bodies.put(key, _UNSEEN, _ENTRY_BYTES + size_of(key))

    def clear(self) -> None:
        """Forget all: a database that lost what it had acknowledged counts from there again."""
        self._bodies.clear()


def size_of(value: object) -> int:
    """Bytes of memory that a value of numbers, texts and tuples of them takes."""
    if isinstance(value, tuple):
        # With the garbage collector's own.
        return 16 + getsizeof(value) + sum(map(size_of, value))
    return getsizeof(value)
