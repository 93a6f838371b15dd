"""Every 201 that writers got, and every frame that readers got."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.crowd import Answer, Ask, Line, Person
from tests.nodes import DEADLINE_S, Frame, check

_client_ids = itertools.count(1)
_PAUSE_S = 0.02


class Errand:
    """Requests one after the other, each asked of one API after the other until it is answered."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = itertools.cycle(urls)
        self._line: Line | None = None

    async def ask(self, ask: Ask) -> Answer:
        """The first answer that is not 503."""
        while True:
            try:
                if self._line is None:
                    self._line = await Line.open(next(self._urls))
                async with asyncio.timeout(DEADLINE_S):
                    answer = await self._line.ask(ask)
                if answer.status != 503:
                    return answer
            except OSError:
                self.close()
            await asyncio.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the connection; the next one goes to the next API."""
        if self._line is not None:
            self._line.close()
            self._line = None


@dataclass
class Ledger:
    """What was acknowledged: ids by author, and by the pair of a dialog."""

    urls: Sequence[str]
    posts: dict[int, list[int]] = field(default_factory=dict)
    messages: dict[frozenset[int], set[int]] = field(default_factory=dict)
    count: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _counted: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write_posts(self, author: Person) -> None:
        """One after the other, until told to stop."""
        errand = Errand(self.urls)
        kept = self.posts.setdefault(author.id, [])
        while not self.stop.is_set():
            new = {"content": "A post", "client_id": f"c{next(_client_ids)}"}
            answer = await errand.ask(author.ask("POST", "/posts", new))
            # 200: the answer to the first attempt was lost.
            assert answer.status in (200, 201), answer
            kept.append(answer.json["id"])
            await self._count()
            # The next one is another process's.
            errand.close()

    async def write_messages(self, me: Person, to: Person) -> None:
        """The same, to somebody who writes back."""
        errand = Errand(self.urls)
        kept = self.messages.setdefault(frozenset((me.id, to.id)), set())
        while not self.stop.is_set():
            new = {"content": "A message", "client_id": f"c{next(_client_ids)}"}
            answer = await errand.ask(me.ask("POST", f"/dialogs/{to.id}/messages", new))
            assert answer.status in (200, 201), answer
            kept.add(answer.json["id"])
            await self._count()
            errand.close()

    async def _count(self) -> None:
        async with self._counted:
            self.count += 1
            self._counted.notify_all()

    async def reach(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = self.count + more
        async with asyncio.timeout(2 * DEADLINE_S), self._counted:
            await self._counted.wait_for(lambda: self.count >= wanted)


class Reader:
    """A client that stays: cut off, it goes to the next node with its cursor."""

    def __init__(self, nodes: Sequence[str], person: Person, friends: Sequence[int]) -> None:
        self._nodes = itertools.cycle(nodes)
        self._person = person
        self._friends = friends
        self._cursor: str | None = None
        self.events: dict[str, Frame] = {}
        self.repeats = 0
        self.reconnects = 0
        self.is_there = asyncio.Event()
        self._grew = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            node = next(self._nodes)
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                await self._read(node)
            await asyncio.sleep(_PAUSE_S)

    async def _read(self, node: str) -> None:
        query = {"token": self._person.token}
        if self._cursor is not None:
            query["cursor"] = self._cursor
        async with connect(f"{node}?{urlencode(query)}", proxy=None, max_queue=None) as connection:
            async for text in connection:
                frame = check(text)
                self._cursor = frame.get("cursor", self._cursor)
                if frame["type"] == "resumed":
                    assert frame["recovered"], "a gap"
                    self.reconnects += 1
                elif "event_id" in frame:
                    self._note(frame)
                self.is_there.set()

    def _note(self, frame: Frame) -> None:
        known = self.events.setdefault(frame["event_id"], frame)
        if known is not frame:
            self.repeats += 1
            assert {**known, "cursor": ""} == {**frame, "cursor": ""}
        self._grew.set()

    def posts(self, author: int) -> list[int]:
        """Ids of an author's posts, in the order in which they first came."""
        posts = [frame["post"] for frame in self.events.values() if "post" in frame]
        return [post["id"] for post in posts if post["author_id"] == author]

    def messages(self, pair: frozenset[int]) -> list[int]:
        """The same of a dialog's messages."""
        found = [frame["message"] for frame in self.events.values() if "message" in frame]
        return [
            message["id"]
            for message in found
            if {message["from_user_id"], message["to_user_id"]} == pair
        ]

    def wanted(self, ledger: Ledger) -> int:
        """How many events of the ledger concern this client."""
        posts = sum(len(ledger.posts.get(friend, ())) for friend in self._friends)
        mine = (ids for pair, ids in ledger.messages.items() if self._person.id in pair)
        return posts + sum(map(len, mine))

    async def has_all(self, ledger: Ledger) -> None:
        """Wait until as many came, then compare."""
        async with asyncio.timeout(2 * DEADLINE_S):
            while len(self.events) < self.wanted(ledger):
                self._grew.clear()
                await self._grew.wait()
        for friend in self._friends:
            assert self.posts(friend) == ledger.posts.get(friend, [])
        for pair, ids in ledger.messages.items():
            if self._person.id in pair:
                assert self.messages(pair) == sorted(ids) == list(range(1, len(ids) + 1))
        assert len(self.events) == self.wanted(ledger), json.dumps(list(self.events))
