"""argon2id, away from the event loop and with bounded concurrency."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import argon2

from hlfast.errors import Unavailable
from hlfast.settings import Settings
from hlfast.text import opaque

T = TypeVar("T")


def _hasher(settings: Settings) -> argon2.PasswordHasher:
    return argon2.PasswordHasher(
        time_cost=settings.password_hash_time,
        memory_cost=settings.password_hash_memory_kib,
        parallelism=1,
    )


def hash_password(password: str, settings: Settings, salt: bytes | None = None) -> str:
    """The argon2id hash with its parameters; blocks for tens of milliseconds.

    A `salt` is given only for passwords that everybody knows.
    """
    return _hasher(settings).hash(password, salt=salt)


def spellings(password: str) -> list[str]:
    """What a hash of this password may be made of: its one spelling, and how it was typed.

    Hashes were made of the latter before there was the former.
    """
    with suppress(ValueError):
        return list(dict.fromkeys((opaque(password), password)))
    return [password]


class Passwords:
    """Hashes and verifies in threads (argon2 lets go of the interpreter's lock).

    Raises errors.Unavailable when too many wait already.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = _hasher(settings)
        self._threads = ThreadPoolExecutor(settings.password_hash_threads, "argon2")
        self._queue_max = settings.password_hash_queue_max
        self._places_free = self._queue_max + settings.password_hash_threads
        # Verified for names that nobody has, so that they take the same time.
        self._nobodys = self._hasher.hash(secrets.token_hex(16))

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return max(0, self._queue_max - self._places_free)

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits; for `stored` None it takes as long and is False."""
        fits = await self._run(lambda: self._fits(stored or self._nobodys, password))
        return fits and stored is not None

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fits(self, stored: str, password: str) -> bool:
        for spelling in spellings(password):
            try:
                return self._hasher.verify(stored, spelling)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                continue
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._places_free <= 0:
            raise Unavailable("Too many passwords are waiting to be checked.")
        self._places_free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._places_free += 1
