"""What is handed in while a send is under way goes out with the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class JoiningSender(Generic[T]):
    """Sends items in order, one send at a time, from a task that runs while there are any.

    `send` must not raise. Beyond `waiting_max` waiting items the oldest is dropped.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[None]],
        *,
        joined_max: int,
        waiting_max: int | None = None,
    ) -> None:
        self._send = send
        self._joined_max = joined_max
        self._waiting: deque[T] = deque(maxlen=waiting_max)
        self._task: asyncio.Task[None] | None = None

    def put(self, item: T) -> None:
        """Hand in; never waits."""
        self._waiting.append(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def withdraw(self) -> list[T]:
        """What waits to be sent, which it will not be."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    async def close(self) -> None:
        """Wait until everything was sent."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._joined_max)
                await self._send([self._waiting.popleft() for _ in range(count)])
        finally:
            self._task = None
