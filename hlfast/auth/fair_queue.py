"""Work that waits for a thread: addresses take turns, and none takes all of the queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from hlfast.errors import Unavailable

T = TypeVar("T")

_FULL = "Too many passwords are waiting to be checked."


class FairQueue:
    """Runs work in the threads of `executor`, `running_max` at once; `waiting_max` may wait.

    Those who wait take turns by address. When the queue is full, whoever comes displaces the
    newest work of the address that has most of it there, and is refused only if that would be
    their own: the share of an address is all of the queue while nobody else is there.
    """

    def __init__(self, executor: Executor, *, running_max: int, waiting_max: int) -> None:
        self._executor = executor
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._running = 0
        self.waiting = 0
        # By address, in the order of their turns; each has somebody.
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}

    async def run(self, work: Callable[[], T], address: str) -> T:
        """What the work returns. Raises errors.Unavailable: too much waits."""
        if self._running >= self._running_max:
            await self._wait(address)
        else:
            self._running += 1
        # A thread is ours, and whoever has it passes it on.
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._pass_on()

    async def _wait(self, address: str) -> None:
        """Wait until it is the turn of this work."""
        if self.waiting >= self._waiting_max:
            self._displace_newest(address)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.setdefault(address, deque()).append(turn)
        self.waiting += 1
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It was cancelled when it had just got the thread.
                self._pass_on()
            elif turn in self._turns.get(address, ()):
                self._forget(address, turn)
            raise

    def _displace_newest(self, address: str) -> None:
        """Refuse the newest of whoever has most. Raises errors.Unavailable for the asking one."""
        # As many addresses at most as may wait.
        greediest = max(self._turns, key=lambda one: len(self._turns[one]), default=address)
        most = len(self._turns.get(greediest, ()))
        if most <= len(self._turns.get(address, ())) + 1:
            raise Unavailable(_FULL)
        displaced = self._turns[greediest][-1]
        self._forget(greediest, displaced)
        if not displaced.done():
            displaced.set_exception(Unavailable(_FULL))

    def _pass_on(self) -> None:
        """Let the next address work, which then waits for its turn behind the others."""
        while self._turns:
            address = next(iter(self._turns))
            theirs = self._turns.pop(address)
            turn = theirs.popleft()
            self.waiting -= 1
            if theirs:
                self._turns[address] = theirs
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    def _forget(self, address: str, turn: asyncio.Future[Any]) -> None:
        theirs = self._turns[address]
        theirs.remove(turn)
        self.waiting -= 1
        if not theirs:
            del self._turns[address]
