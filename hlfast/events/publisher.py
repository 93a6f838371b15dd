"""The publisher: events of one turn of the event loop are one entry of the event log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableSequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hlfast import codec
from hlfast.batching import Batcher, BatchLimits
from hlfast.errors import Unavailable
from hlfast.events.log import EventLog
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# Whether the log takes events: how long an answer is good, and how long one is waited for.
_KNOWN_FOR_S = 0.1
_PROBE_MAX_S = 1.0


class Batch(NamedTuple):
    """What an entry of the log holds. `since` is Unix time in seconds."""

    since: float
    events: list[Any]


def read_batch(entry: bytes) -> Batch:
    """An entry as Publisher writes it. Raises Malformed, KeyError, TypeError, ValueError."""
    found = codec.decode(entry)
    return Batch(float(found["since"]), list(found["events"]))


# Called once, when an event is in the log, with None, or with the reason why it is not.
Landed = Callable[[Exception | None], None]


@dataclass(slots=True)
class _Submitted:
    event: bytes
    landed: Landed
    at: float


class Publisher:
    """Joins the events of one loop turn, and those that come while many entries are under way.

    An entry is a JSON object: `events` in the order in which they were submitted, over all
    entries: those under way are appended in order; and `since`, when the first of them was
    submitted, for who measures how late it comes: once, because events of an entry were submitted
    within a moment, and where they had to wait the longest wait is the one to know.

    An entry that fails takes all with it that was submitted after it, so that nothing is there
    whose forerunner is not. A caller that gives up disturbs no other one's event; its own may be
    published all the same.
    """

    def __init__(self, log: EventLog, settings: Settings) -> None:
        self._log = log
        self._events_max = settings.events_batch_max
        self._bytes_max = settings.events_batch_bytes_max
        self._queue_max = self._queue_free = settings.events_queue_max
        self._waiting: deque[_Submitted] = deque()
        self._retry_s = settings.events_retry_s
        # Why the log did not take the last entry; empty when it did. And until when, in the
        # loop's time, nobody need try.
        self.trouble = ""
        self._away_until = 0.0
        self._known_at = float("-inf")
        self._probing: asyncio.Task[None] | None = None
        self._batcher = Batcher(
            self._take,
            self._publish,
            BatchLimits(
                settings.events_batch_max,
                min(settings.events_batches_max, log.entries_at_once_max),
            ),
        )

    @property
    def unconfirmed(self) -> int:
        """How many events are not in the log yet."""
        return self._queue_max - self._queue_free

    @property
    def is_well(self) -> bool:
        """Whether it is worth a try, as far as is known."""
        return not self.trouble or asyncio.get_running_loop().time() >= self._away_until

    async def takes_events(self, *, now: bool = True) -> bool:
        """Whether the log takes events: an entry without any is published to find out.

        Takes a second at most; who asks while others do gets their answer. If it need not be as of
        now, what was known a moment ago will do: there is no end of who may ask that.
        """
        known_for_s = asyncio.get_running_loop().time() - self._known_at
        if now or known_for_s >= _KNOWN_FOR_S:
            if self._probing is None:
                self._probing = asyncio.create_task(self._probe())
            done, _ = await asyncio.wait([self._probing], timeout=_PROBE_MAX_S)
            if not done:
                return False
        return not self.trouble

    def submit(self, event: Mapping[str, Any]) -> asyncio.Future[None]:
        """Publish an event: the future is done when it is in the log, or raises Unavailable.

        Raises Unavailable at once when too many events are not confirmed yet.
        """
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def landed(failure: Exception | None) -> None:
            if confirmed.done():
                return
            if failure is None:
                confirmed.set_result(None)
            else:
                confirmed.set_exception(failure)

        self.put(event, landed)
        return confirmed

    def put(self, event: Mapping[str, Any], landed: Landed) -> None:
        """Publish an event; `landed` must not raise. It costs less than a future for each event.

        Raises Unavailable at once when too many events are not confirmed yet.
        """
        if self._queue_free <= 0:
            raise Unavailable("Too many events wait for the event log")
        self._waiting.append(_Submitted(codec.compact(codec.encode(event)), landed, time.time()))
        self._queue_free -= 1
        self._batcher.ready()

    async def close(self) -> None:
        """Publish what waits, and wait for what is under way."""
        await self._batcher.drain()
        if self._probing is not None:
            self._probing.cancel()

    def _take(self) -> list[_Submitted] | None:
        """Take the events that wait, as many as one entry may hold."""
        batch: list[_Submitted] = []
        left = self._bytes_max
        while self._waiting and len(batch) < self._events_max:
            # Its comma or bracket counts.
            left -= len(self._waiting[0].event) + 1
            if batch and left < 1:
                break
            batch.append(self._waiting.popleft())
        return batch or None

    async def _publish(self, batch: list[_Submitted]) -> None:
        events = b",".join([one.event for one in batch])
        try:
            await self._log.publish(b'{"since":%.6f,"events":[%b]}' % (batch[0].at, events))
        except Exception as failure:  # handed to everyone who waits
            self._failed(failure)
            self._fail_from(batch, failure)
        else:
            self._took()
            self._settle(batch, None)

    async def _probe(self) -> None:
        try:
            await self._log.publish(b'{"since":%.6f,"events":[]}' % time.time())
        except Unavailable as failure:
            self._failed(failure)
        else:
            self._took()
        finally:
            self._probing = None

    def _failed(self, failure: Exception) -> None:
        self._known_at = asyncio.get_running_loop().time()
        self._away_until = self._known_at + self._retry_s
        if not self.trouble:
            logger.error("The event log takes no events: they wait in the outbox: %s", failure)
        self.trouble = str(failure) or type(failure).__name__

    def _took(self) -> None:
        if self.trouble:
            logger.warning("The event log takes events again")
        self.trouble = ""
        self._known_at = asyncio.get_running_loop().time()

    def _fail_from(self, failed: list[_Submitted], failure: Exception) -> None:
        """This entry, and whatever was submitted after it."""
        is_later = False
        for task, batch in self._batcher.under_way.items():
            if batch is failed:
                is_later = True
            elif is_later:
                task.cancel()
            if is_later:
                self._settle(batch, failure)
        waiting, self._waiting = self._waiting, deque()
        self._settle(waiting, failure)

    def _settle(self, batch: MutableSequence[_Submitted], failure: Exception | None) -> None:
        self._queue_free += len(batch)
        for one in batch:
            one.landed(failure)
        # Once, however it ends.
        batch.clear()
