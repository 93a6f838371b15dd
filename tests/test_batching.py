"""Writes that meet: which go together, in what order, and what one has to do with another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from hlfast.batching import BatchLimits, BatchWriter
from hlfast.errors import Unavailable


class Page:
    """Something to write to: each batch is written when the test says so."""

    def __init__(
        self,
        *,
        batch_max: int = 10,
        batches_max: int = 1,
        waiting_max: int = 100,
        timeout_s: float = 60,
    ) -> None:
        self.batches: list[list[str]] = []
        self.may_land: list[asyncio.Future[None]] = []
        self.writer: BatchWriter[str, str, str] = BatchWriter(
            self._write,
            BatchLimits(batch_max, batches_max),
            waiting_max=waiting_max,
            timeout_s=timeout_s,
        )

    async def _write(self, items: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(items))
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.may_land.append(landed)
        await landed
        return [item.upper() for item in items]

    def write(self, item: str) -> asyncio.Task[str]:
        """The first letter is the key."""

        async def written() -> str:
            return await self.writer.write(item[0], item)

        return asyncio.get_running_loop().create_task(written())

    async def land(self, number: int, failure: Exception | None = None) -> None:
        """Let the batch of that number come to its end, and whatever follows from that begin."""
        if failure is None:
            self.may_land[number].set_result(None)
        else:
            self.may_land[number].set_exception(failure)
        await turns()


async def turns() -> None:
    """Enough turns of the loop for everything that waits for nobody."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_those_of_one_turn_and_those_that_come_meanwhile_go_together() -> None:
    async def run() -> None:
        page = Page(batch_max=3)
        first = [page.write(item) for item in ("a", "b")]
        await turns()
        later = [page.write(item) for item in ("c", "d", "e", "f")]
        await turns()
        assert page.batches == [["a", "b"]]
        await page.land(0)
        assert [task.result() for task in first] == ["A", "B"]
        assert page.batches[1:] == [["c", "d", "e"]]
        await page.land(1)
        assert page.batches[2:] == [["f"]]
        await page.land(2)
        assert [task.result() for task in later] == ["C", "D", "E", "F"]

    asyncio.run(run())


def test_so_many_batches_are_under_way_and_no_more() -> None:
    async def run() -> None:
        page = Page(batches_max=2)
        tasks = []
        for item in ("a", "b", "c", "d"):
            tasks.append(page.write(item))
            await turns()
        assert page.batches == [["a"], ["b"]]
        await page.land(1)
        assert page.batches[2:] == [["c", "d"]]
        await page.land(0)
        await page.land(2)
        assert [task.result() for task in tasks] == ["A", "B", "C", "D"]

    asyncio.run(run())


def test_those_of_one_key_go_one_after_the_other_as_they_came() -> None:
    async def run() -> None:
        page = Page(batches_max=2)
        tasks = [page.write(item) for item in ("a1", "a2", "b1", "a3")]
        await turns()
        # One more batch could be under way: whoever could begin it must not.
        assert page.batches == [["a1", "b1"]]
        tasks.append(page.write("a4"))
        tasks.append(page.write("c1"))
        await turns()
        assert page.batches[1:] == [["c1"]]
        for number, items in ((0, ["a2"]), (2, ["a3"]), (3, ["a4"])):
            await page.land(number)
            assert page.batches[-1] == items
        await page.land(4)
        await page.land(1)
        results = [await task for task in tasks]
        assert results == ["A1", "A2", "B1", "A3", "A4", "C1"]

    asyncio.run(run())


def test_a_failure_reaches_its_batch_alone() -> None:
    async def run() -> None:
        page = Page()
        failed = [page.write(item) for item in ("a1", "b")]
        await turns()
        fine = [page.write(item) for item in ("a2", "c")]
        await turns()
        await page.land(0, Unavailable("gone"))
        for task in failed:
            with pytest.raises(Unavailable, match="gone"):
                task.result()
        await page.land(1)
        assert sorted(await asyncio.gather(*fine)) == ["A2", "C"]

    asyncio.run(run())


def test_who_gives_up_disturbs_nobody() -> None:
    async def run() -> None:
        page = Page()
        under_way = [page.write(item) for item in ("a1", "b1")]
        await turns()
        waiting = [page.write(item) for item in ("a2", "c1", "a3")]
        await turns()
        for gone in (under_way[0], waiting[0], waiting[1]):
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
        await page.land(0)
        assert await under_way[1] == "B1"
        # What had not gone out never does.
        assert page.batches == [["a1", "b1"], ["a3"]]
        await page.land(1)
        assert await waiting[2] == "A3"

    asyncio.run(run())


def test_beyond_the_bound_nobody_waits_and_later_somebody_may_again() -> None:
    async def run() -> None:
        page = Page(waiting_max=3)
        tasks = [page.write(item) for item in ("a1", "a2", "b")]
        await turns()
        with pytest.raises(Unavailable, match="Too many"):
            await page.write("c")
        tasks[1].cancel()
        await page.land(0)
        again = [page.write(item) for item in ("a3", "b2", "c")]
        await turns()
        with pytest.raises(Unavailable, match="Too many"):
            await page.write("d")
        await page.land(1)
        assert await asyncio.gather(*again) == ["A3", "B2", "C"]

    asyncio.run(run())


def test_who_has_waited_too_long_is_refused_and_not_written() -> None:
    async def run() -> None:
        page = Page(timeout_s=0.05)
        first = page.write("a")
        await turns()
        late = page.write("b")
        await asyncio.sleep(0.1)
        young = page.write("c")
        await turns()
        await page.land(0)
        assert await first == "A"
        with pytest.raises(Unavailable, match="in time"):
            await late
        assert page.batches == [["a"], ["c"]]
        await page.land(1)
        assert await young == "C"

    asyncio.run(run())
