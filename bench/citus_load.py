"""People who write to each other whatever happens, and the ledger of what was acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import NamedTuple

from bench.crowd import PASSWORD, Ask, Line, Person
from hlfast.dialogs.dialog_ids import dialog_id

# For each message that waits; so no more than some dozens of them do.
_PAUSE_S = 0.005
_RETRY_S = 0.25
_REGISTRATION_S = 0.5


class Sent(NamedTuple):
    """An acknowledged message. Times are of time.monotonic()."""

    dialog_id: int
    id: int
    from_id: int
    client_id: str
    content: str
    asked_at: float
    acknowledged_at: float


class Message(NamedTuple):
    """One to be sent, and when it was first tried."""

    sender: Person
    to: Person
    client_id: str
    asked_at: float


@dataclass(slots=True)
class Ledger:
    """Everything that was acknowledged, and what went wrong on the way."""

    sent: list[Sent] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    # (time, status) of each send that was not acknowledged.
    refused: list[tuple[float, int]] = field(default_factory=list)
    registered: list[float] = field(default_factory=list)
    not_registered: list[float] = field(default_factory=list)

    def since(self, start: float) -> Window:
        """What was acknowledged from then on."""
        return Window(
            [sent for sent in self.sent if sent.acknowledged_at >= start],
            Counter(status for at, status in self.refused if at >= start),
            sum(at >= start for at in self.registered),
            sum(at >= start for at in self.not_registered),
        )


class Window(NamedTuple):
    """A part of a ledger."""

    sent: list[Sent]
    refused: Counter[int]
    registered: int
    not_registered: int

    @property
    def longest_send_s(self) -> float:
        """From the first try to the acknowledgement, of the slowest."""
        return max((one.acknowledged_at - one.asked_at for one in self.sent), default=0.0)

    @property
    def longest_silence_s(self) -> float:
        """In which nobody's message was acknowledged."""
        times = sorted(one.acknowledged_at for one in self.sent)
        return max((b - a for a, b in pairwise(times)), default=0.0)


class Writers:
    """Each on a connection of their own, until stopped; every second message has a celebrity."""

    def __init__(self, url: str, people: list[Person], writers: int) -> None:
        self.ledger = Ledger()
        self._url, self._people, self._stop = url, people, asyncio.Event()
        self._later: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(writers)]
        self._tasks.append(asyncio.create_task(self._register()))

    async def stop(self) -> None:
        """What was begun is brought to its end, acknowledged."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*self._later)

    async def _write(self, number: int) -> None:
        random, line, count = Random(number), await Line.open(self._url), 0
        celebrity, *others = self._people
        while not self._stop.is_set():
            count += 1
            pair = random.sample(others, 2)
            if count % 2:
                pair[random.randrange(2)] = celebrity
            message = Message(*pair, f"{number}-{count}", time.monotonic())
            self.ledger.asked.add(message.client_id)
            if not await self._send(line, message):
                # Others do not wait for a dialog that is out of reach.
                task = asyncio.create_task(self._insist(message))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
                await asyncio.sleep(_PAUSE_S * len(self._later))
        line.close()

    async def _insist(self, message: Message) -> None:
        line = await Line.open(self._url)
        acknowledged = False
        while not acknowledged:
            await asyncio.sleep(_RETRY_S)
            acknowledged = await self._send(line, message)
        line.close()

    async def _send(self, line: Line, message: Message) -> bool:
        """Whether it was acknowledged. Raises RuntimeError for an answer that is none."""
        me, to, client_id, asked_at = message
        content = f"text of {client_id}"
        body = {"content": content, "client_id": client_id}
        answer = await line.ask(me.ask("POST", f"/dialogs/{to.id}/messages", body))
        if answer.status == 503:
            self.ledger.refused.append((time.monotonic(), answer.status))
            return False
        if answer.status not in (200, 201):
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
        self.ledger.sent.append(
            Sent(
                dialog_id(me.id, to.id),
                answer.json["id"],
                me.id,
                client_id,
                content,
                asked_at,
                time.monotonic(),
            )
        )
        return True

    async def _register(self) -> None:
        line = await Line.open(self._url)
        count = 0
        while not self._stop.is_set():
            count += 1
            new = {
                "username": f"new-{time.monotonic_ns()}",
                "password": PASSWORD,
                "first_name": "N",
                "last_name": "N",
            }
            answer = await line.ask(Ask("POST", "/users", new))
            done = self.ledger.registered if answer.status == 201 else self.ledger.not_registered
            done.append(time.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _REGISTRATION_S)
        line.close()


def compare(ledger: Ledger, rows: list[tuple[int, int, int, str, str]]) -> dict[str, int]:
    """`rows`: dialog_id, id, from_user_id, client_id, content of every message stored."""
    stored = {(row[0], row[1]): tuple(row) for row in rows}
    lost = sum(stored.get((one.dialog_id, one.id)) != one[:5] for one in ledger.sent)
    by_client = Counter(row[3] for row in rows)
    newest = Counter[int]()
    for dialog, number, *_ in rows:
        newest[dialog] = max(newest[dialog], number)
    return {
        "acknowledged": len(ledger.sent),
        "lost": lost,
        "duplicates": sum(by_client.values()) - len(by_client),
        "never asked for": len(set(by_client) - ledger.asked),
        "gaps in ids": sum(newest.values()) - len(stored),
    }
