"""Work that waits for a thread: a fair share for each address, and all of it for one alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from hlfast.auth.fair_queue import FairQueue
from hlfast.errors import Unavailable

DEADLINE_S = 30.0


class Gated:
    """A queue of one thread, which is held until the gate opens; notes whose work is done."""

    def __init__(self, executor: ThreadPoolExecutor, waiting_max: int) -> None:
        self.queue = FairQueue(executor, running_max=1, waiting_max=waiting_max)
        self.gate = Event()
        self.done: list[str] = []

    def ask(self, address: str) -> asyncio.Task[None]:
        """Work of somebody, who waits from the next turn of the loop on."""

        def work() -> None:
            self.gate.wait(DEADLINE_S)
            self.done.append(address)

        return asyncio.ensure_future(self.queue.run(work, address))

    async def outcomes(self, tasks: list[asyncio.Task[None]]) -> list[bool]:
        """Open the gate: of each whether it was done and not refused."""
        await asyncio.sleep(0)
        self.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, Unavailable) for result in results)
        assert self.queue.waiting == 0
        return [result is None for result in results]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_addresses_take_turns(executor: ThreadPoolExecutor) -> None:
    async def run() -> None:
        gated = Gated(executor, waiting_max=64)
        tasks = [gated.ask("flood") for _ in range(20)]
        await asyncio.sleep(0)
        tasks += [gated.ask(address) for address in ("one", "other", "one")]
        assert all(await gated.outcomes(tasks))
        assert gated.done[:6] == ["flood", "flood", "one", "other", "flood", "one"]

    asyncio.run(run())


def test_who_fills_the_queue_keeps_nobody_out(executor: ThreadPoolExecutor) -> None:
    async def run() -> None:
        gated = Gated(executor, waiting_max=8)
        flood = [gated.ask("flood") for _ in range(50)]
        await asyncio.sleep(0)
        others = [gated.ask(f"192.0.2.{number}") for number in range(4)]
        outcomes = await gated.outcomes([*flood, *others])
        assert outcomes[-4:] == [True] * 4
        # One ran, and of the eight that wait four are the others'.
        assert sum(outcomes[:-4]) == 1 + 4

    asyncio.run(run())


def test_alone_it_may_have_all_of_it(executor: ThreadPoolExecutor) -> None:
    async def run() -> None:
        gated = Gated(executor, waiting_max=8)
        assert sum(await gated.outcomes([gated.ask("alone") for _ in range(50)])) == 9

    asyncio.run(run())


def test_two_floods_have_half_of_it_each(executor: ThreadPoolExecutor) -> None:
    async def run() -> None:
        gated = Gated(executor, waiting_max=8)
        tasks = [gated.ask(address) for address in ["first"] * 30 + ["second"] * 30]
        await gated.outcomes(tasks)
        assert Counter(gated.done[1:]) == {"first": 4, "second": 4}

    asyncio.run(run())


@pytest.mark.parametrize("running", [True, False])
def test_who_gives_up_holds_up_nobody(executor: ThreadPoolExecutor, running: bool) -> None:
    async def run() -> None:
        gated = Gated(executor, waiting_max=8)
        tasks = [gated.ask(f"address {number}") for number in range(6)]
        await asyncio.sleep(0)
        gone = tasks.pop(0 if running else 3)
        gone.cancel()
        assert all(await gated.outcomes(tasks))
        assert gone.cancelled()
        # Nothing waits any more.
        assert await gated.queue.run(partial(int, 7), "later") == 7
        assert gated.queue._running == 0

    asyncio.run(run())
