"""Encoded answers, kept in memory for as long as the database says that they are still right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

# A version that is made of several numbers.
Mark = tuple[Hashable, ...]
# The version of what was asked for once.
_UNSEEN = object()
# What an entry holds beside its body: key, version, the dictionary's own. Measured, rounded up.
_ENTRY_BYTES = 400


class Bodies:
    """Bodies by key, each with the version that it shows.

    A version is whatever changes with every change of what is shown. It is read from the database
    for each request, never later than the body that is kept under it: so a body is served only
    if nothing has changed since. The oldest make room when there are more than `bytes_max`;
    with 0 none is kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._kept: dict[Hashable, tuple[Hashable, bytes]] = {}
        self._bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is one of any version."""
        return key in self._kept

    def get(self, key: Hashable, version: Hashable) -> bytes | None:
        """The body of this version, if it is there."""
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] == version else None

    def put(self, key: Hashable, version: Hashable, body: bytes) -> None:
        """Keep a body instead of the one of another version."""
        self._drop(key)
        self._kept[key] = version, body
        self._bytes += len(body) + _ENTRY_BYTES
        while self._bytes > self.bytes_max:
            self._drop(next(iter(self._kept)))

    def put_again(self, key: Hashable, version: Hashable, body: bytes) -> None:
        """The same for what was asked for before; the first time may be the only one."""
        if key in self._kept:
            self.put(key, version, body)
        else:
            self.put(key, _UNSEEN, b"")

    async def kept(
        self,
        key: Hashable,
        version: Callable[[], Awaitable[Hashable]],
        make: Callable[[], Awaitable[bytes]],
    ) -> bytes:
        """The body under a key, made anew unless it is there in the version of now.

        What nobody has asked for before is not kept yet: it may be the only time, and costs no
        look at its version then. A version of None is none: there is nothing that could be kept.
        """
        if key not in self._kept:
            self.put(key, _UNSEEN, b"")
            return await make()
        now = await version()
        body = self.get(key, now)
        if body is None:
            body = await make()
            if now is not None:
                self.put(key, now, body)
        return body

    def clear(self) -> None:
        """Forget all: a database that lost what it had acknowledged counts from there again."""
        self._kept.clear()
        self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept[1]) + _ENTRY_BYTES
