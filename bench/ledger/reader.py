"""Clients that stay whatever happens, and what they missed of a ledger."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bench.crowd import Person
from bench.ledger.frames import Frame, check
from bench.ledger.ledger import Errand, Ledger, Stream, fact_of
from hlfast.websocket.wire import CloseCode

_PAUSE_S = 0.02
_POLL_S = 0.2
# After the last that was missing: for what comes though it should not.
_LINGER_S = 0.5


class Reader:
    """A client that stays: cut off, it goes to the next node with its cursor.

    Without `recovered` it reloads posts and messages over HTTP before it reads on. `stay_s`: it
    also leaves of its own accord, after half to one and a half times as long.
    """

    def __init__(
        self, ledger: Ledger, nodes: Sequence[str], person: Person, stay_s: float | None = None
    ) -> None:
        self.person = person
        self._ledger = ledger
        self._nodes = itertools.cycle(nodes)
        self._stay_s = stay_s
        self._cursor: str | None = None
        self._events: dict[str, Frame] = {}
        # When each fact first came in a frame, in that order.
        self.received: dict[Stream, dict[int, float]] = {}
        self.reloaded: dict[Stream, set[int]] = {}
        self.reloaded_at = 0.0
        self.repeats = 0
        self.resumes = 0
        self.reloads = 0
        self.silence_s = 0.0
        self._heard_at = 0.0
        self.wrong: list[str] = []
        self.is_there = asyncio.Event()

    async def run(self) -> None:
        """Read events until cancelled."""
        while True:
            node = next(self._nodes)
            try:
                async with asyncio.timeout(
                    self._stay_s and self._stay_s * random.uniform(0.5, 1.5)
                ):
                    await self._read(node)
            except ConnectionClosed as end:
                if end.rcvd is not None and end.rcvd.code == CloseCode.POLICY:
                    # It will not be better next time.
                    self.wrong.append(f"closed with {end.rcvd}")
                    return
            except (InvalidHandshake, OSError):
                pass
            await asyncio.sleep(_PAUSE_S)

    async def _read(self, node: str) -> None:
        query = {"token": self.person.token}
        if self._cursor is not None:
            query["cursor"] = self._cursor
        async with connect(f"{node}?{urlencode(query)}", proxy=None, max_queue=None) as connection:
            async for text in connection:
                frame = check(text)
                if frame["type"] == "hello":
                    there = frame["cursor"]
                    # Else only what follows tells what was seen of it.
                    self._cursor = self._cursor or there
                elif frame["type"] == "resumed":
                    self.resumes += 1
                    if not frame["recovered"]:
                        await self._reload()
                        self._cursor = there
                elif "event_id" in frame:
                    self.take(frame)
                    self._cursor = frame["cursor"]
                self.is_there.set()

    def take(self, frame: Frame) -> None:
        """Note an event."""
        now = time.monotonic()
        if self._heard_at:
            self.silence_s = max(self.silence_s, now - self._heard_at)
        self._heard_at = now
        known = self._events.setdefault(frame["event_id"], frame)
        if known is not frame:
            self.repeats += 1
            if {**known, "cursor": ""} != {**frame, "cursor": ""}:
                self.wrong.append(f"a repeat that differs: {known} {frame}")
            return
        stream, number, _ = fact_of(frame, self.person.id)
        facts = self.received.setdefault(stream, {})
        if number in facts:
            self.wrong.append(f"{stream} {number} under two event_ids")
        facts.setdefault(number, now)

    def differing(self, ledger: Ledger) -> list[str]:
        """Events that never happened, or that show something else."""
        found = []
        for frame in self._events.values():
            stream, number, body = fact_of(frame, self.person.id)
            entry = ledger.streams.get(stream, {}).get(number)
            if entry is None or entry.shown != body:
                found.append(f"{frame} instead of {entry}")
        return found

    async def _reload(self) -> None:
        """Reload by HTTP, as the contract says, from the newest down to what is known."""
        began = time.monotonic()
        errand = Errand(self._ledger.urls, [])
        for stream, _ in self._ledger.concerning(self.person.id):
            if stream.kind == "post":
                await self._reload_list(errand, f"/users/{stream.one}/posts", stream)
            elif stream.kind == "message":
                other = stream.one + stream.other - self.person.id
                await self._reload_list(errand, f"/dialogs/{other}/messages", stream)
        errand.close()
        self.reloads += 1
        self.reloaded_at = began

    async def _reload_list(self, errand: Errand, path: str, stream: Stream) -> None:
        received = self.received.get(stream, {})
        reloaded = self.reloaded.setdefault(stream, set())
        before = ""
        while True:
            answer = await errand.ask(self.person.ask("GET", f"{path}?limit=100{before}"))
            assert answer.status == 200, answer
            ids = {item["id"] for item in answer.json["items"]}
            new = ids - received.keys() - reloaded
            reloaded |= new
            if answer.json["next"] is None or new != ids:
                return
            before = f"&before={answer.json['next']}"


@dataclass
class Balance:
    """A ledger held against what clients got. Facts are counted once for each client."""

    acknowledged: int
    clients: int = 0
    expected: int = 0
    received: int = 0
    # Over HTTP, after `recovered: false`; of read marks and friendships only the state is.
    reloaded: int = 0
    missing: int = 0
    repeats: int = 0
    out_of_order: int = 0
    resumes: int = 0
    not_recovered: int = 0
    # Between two events to one client, and from an answer to the frame.
    longest_silence_s: float = 0.0
    longest_wait_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every client saw everything once and in order, and nothing else."""
        return not (self.missing or self.out_of_order or self.wrong)


def balance(ledger: Ledger, readers: Sequence[Reader]) -> Balance:
    """What each of them missed."""
    found = _tally(ledger, readers)
    for stream, facts in ledger.streams.items():
        if stream.kind == "message" and sorted(facts) != [*range(1, len(facts) + 1)]:
            found.wrong.append(f"{stream} has gaps")
    for reader in readers:
        found.repeats += reader.repeats
        found.resumes += reader.resumes
        found.not_recovered += reader.reloads
        found.longest_silence_s = max(found.longest_silence_s, reader.silence_s)
        found.wrong += reader.wrong + reader.differing(ledger)
    return found


def _tally(ledger: Ledger, readers: Sequence[Reader]) -> Balance:
    found = Balance(ledger.count, len(readers))
    for reader in readers:
        for stream, facts in ledger.concerning(reader.person.id):
            _compare(found, reader, stream, facts)
    return found


def _compare(found: Balance, reader: Reader, stream: Stream, facts: dict[int, Any]) -> None:
    received = reader.received.get(stream, {})
    for earlier, later in itertools.pairwise(received):
        found.out_of_order += later < earlier
    found.expected += len(facts)
    found.received += len(received)
    for number, entry in facts.items():
        if (at := received.get(number)) is not None:
            found.longest_wait_s = max(found.longest_wait_s, at - entry.acknowledged_at)
        elif _is_reloaded(reader, stream, number, entry.asked_at):
            found.reloaded += 1
        else:
            found.missing += 1


def _is_reloaded(reader: Reader, stream: Stream, number: int, asked_at: float) -> bool:
    if stream.kind in ("read", "friend"):
        return asked_at < reader.reloaded_at
    return number in reader.reloaded.get(stream, ())


async def settled(ledger: Ledger, readers: Sequence[Reader], within_s: float) -> Balance:
    """The balance once nothing is missing, or when for so long nothing of that has come."""
    missing, came_at = -1, 0.0
    while left := _tally(ledger, readers).missing:
        if left != missing:
            missing, came_at = left, time.monotonic()
        elif time.monotonic() - came_at > within_s:
            break
        await asyncio.sleep(_POLL_S)
    await asyncio.sleep(_LINGER_S)
    return balance(ledger, readers)
