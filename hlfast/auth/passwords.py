"""argon2id, away from the event loop, with bounded concurrency and a fair share for everybody."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import argon2

from hlfast.auth.fair_queue import FairQueue
from hlfast.settings import Settings
from hlfast.text import opaque

# Sets of parameters whose work each verification does. There are two after a change of the
# settings; what is beyond the bound is verified all the same, only not hidden in the time.
_PARAMETERS_MAX = 8


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


def parameters_of(stored: str) -> str:
    """How a hash begins: `$argon2id$v=19$m=19456,t=2,p=1`."""
    return "$".join(stored.split("$")[:4])


def spellings(password: str) -> list[str]:
    """What a hash of this password may be made of: its one spelling, and how it was typed.

    Hashes were made of the latter before there was the former.
    """
    with suppress(ValueError):
        return list(dict.fromkeys((opaque(password), password)))
    return [password]


class Passwords:
    """Hashes and verifies in threads (argon2 lets go of the interpreter's lock).

    `address` is whose share of the threads it costs. Raises errors.Unavailable when too many wait
    already.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = _hasher(settings)
        self._threads = ThreadPoolExecutor(settings.password_hash_threads, "argon2")
        self._queue = FairQueue(
            self._threads,
            running_max=settings.password_hash_threads,
            waiting_max=settings.password_hash_queue_max,
        )
        # By parameters: verified where the stored hash has others, or nobody has the name, so that
        # it takes the same time whoever it is and however old the hash.
        nobodys = self._hasher.hash(secrets.token_hex(16))
        self.parameters = parameters_of(nobodys)
        self._nobodys = {self.parameters: nobodys}

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return self._queue.waiting

    def learn(self, known: Iterable[str]) -> None:
        """Let refusals take the time of these parameters, too. Blocks for one hash of each.

        What argon2 does not understand is passed over.
        """
        for parameters in known:
            if parameters in self._nobodys or len(self._nobodys) >= _PARAMETERS_MAX:
                continue
            try:
                # Of a salt and a hash of the usual lengths.
                found = argon2.extract_parameters(f"{parameters}${'A' * 22}${'A' * 43}")
                hasher = argon2.PasswordHasher.from_parameters(found)
                self._nobodys[parameters] = hasher.hash(secrets.token_hex(16))
            except (argon2.exceptions.Argon2Error, argon2.exceptions.InvalidHashError, ValueError):
                continue

    async def hash(self, password: str, address: str = "") -> str:
        """The argon2id hash of a password, to be stored."""
        return await self._queue.run(lambda: self._hasher.hash(spellings(password)[0]), address)

    async def verify(self, stored: str | None, password: str, address: str = "") -> bool:
        """Whether the password fits; for `stored` None it takes as long and is False."""
        return await self._queue.run(lambda: self._verify(stored, password), address)

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made under other parameters than a new one would be."""
        return parameters_of(stored) != self.parameters

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        """In a thread: one verification under each set of parameters, in the same order."""
        its_own = parameters_of(stored or "")
        fits = False
        for parameters, nobodys in list(self._nobodys.items()):
            if stored is not None and parameters == its_own:
                fits = self._fits(stored, password)
            else:
                self._fits(nobodys, password)
        if stored and its_own not in self._nobodys:
            # Another process has newer settings, or somebody wrote it by hand.
            fits = self._fits(stored, password)
            self.learn([its_own])
        return fits

    def _fits(self, stored: str, password: str) -> bool:
        for spelling in spellings(password):
            try:
                return self._hasher.verify(stored, spelling)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                continue
        return False
