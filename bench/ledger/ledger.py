"""What was acknowledged, who must be sent it, and how the API answered meanwhile.

A fact is a number in a stream: of an author's posts and a dialog's messages the id, of reading the
message up to which, of a friendship whether it was asked for (0) or made (1). In each stream facts
appear in ascending order, and a client must see them in that order.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.crowd import Answer, Ask, Line, Person
from bench.ledger.frames import Frame

_client_ids = itertools.count(1)
_PAUSE_S = 0.02
_ANSWERED_WITHIN_S = 30.0
# Of a writer's requests so many are between two that must be refused, and two that read.
_REFUSED_EVERY, _READ_EVERY = 10, 3
_NOBODY = 2**31 - 1
REFUSED_TEXT = "This was refused"


class Stream(NamedTuple):
    """What is in order: `kind` is post, message, read or friend."""

    kind: str
    one: int
    other: int = 0


class Entry(NamedTuple):
    """An acknowledged fact: when it was asked for and answered, and what the answer showed."""

    asked_at: float
    acknowledged_at: float
    shown: dict[str, Any]


class Answered(NamedTuple):
    """One attempt of a request. Status 0: the connection broke, or there was no answer in time."""

    at: float
    took_s: float
    status: int


def dialog(one: int, other: int) -> Stream:
    """The stream of two users' messages."""
    return Stream("message", min(one, other), max(one, other))


def fact_of(frame: Frame, me: int) -> tuple[Stream, int, dict[str, Any]]:
    """The fact that a frame has for me, and what it shows. Raises KeyError for another frame."""
    match frame["type"]:
        case "post.created":
            post = frame["post"]
            return Stream("post", post["author_id"]), post["id"], shown(post)
        case "message.created":
            message = frame["message"]
            stream = dialog(message["from_user_id"], message["to_user_id"])
            return stream, message["id"], shown(message)
        case "message.read":
            return Stream("read", frame["user_id"], frame["peer_id"]), frame["up_to"], {}
        case "friend.requested":
            return Stream("friend", me, frame["user_id"]), 0, {}
        case "friend.added":
            return Stream("friend", me, frame["user_id"]), 1, {}
        case other:
            raise KeyError(other)


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """A post or message but for what changes later."""
    return {name: value for name, value in body.items() if name != "read"}


class Errand:
    """Requests one after the other, each asked of the next API, and the next, until answered."""

    def __init__(self, urls: Sequence[str], answered: list[Answered]) -> None:
        self._urls = itertools.cycle(urls)
        self._answered = answered
        self._lines: dict[str, Line] = {}

    async def ask(self, ask: Ask) -> Answer:
        """The first answer that is no failure of the server's."""
        while True:
            url = next(self._urls)
            try:
                line = self._lines.get(url) or await Line.open(url)
            except OSError:
                # It is not there: nobody was asked.
                await asyncio.sleep(_PAUSE_S)
                continue
            self._lines[url] = line
            answer, began = None, time.monotonic()
            try:
                async with asyncio.timeout(_ANSWERED_WITHIN_S):
                    answer = await line.ask(ask)
            except OSError:
                self._lines.pop(url).close()
            status = 0 if answer is None else answer.status
            self._answered.append(Answered(began, time.monotonic() - began, status))
            if answer is not None and status < 500:
                return answer
            await asyncio.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the connections."""
        for line in self._lines.values():
            line.close()


@dataclass
class Ledger:
    """Everything acknowledged, by stream, and the load that it comes from.

    `interval_s` is between the beginnings of two requests of one writer. What is once begun is
    asked again until it is answered, so all that clients may be sent is acknowledged in the end.
    """

    urls: Sequence[str]
    interval_s: float = 0.0
    streams: dict[Stream, dict[int, Entry]] = field(default_factory=dict)
    audiences: dict[Stream, frozenset[int]] = field(default_factory=dict)
    count: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    answered: list[Answered] = field(default_factory=list)
    # From when to when the event log did not answer.
    outages: list[tuple[float, float]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _counted: asyncio.Condition = field(default_factory=asyncio.Condition)

    def load(
        self, people: Sequence[Person], strangers: Sequence[Person]
    ) -> list[Coroutine[Any, Any, None]]:
        """Writers, until `stop` is set: `people` are all friends, `strangers` nobody's."""
        everybody = frozenset(person.id for person in people)
        writers: list[Coroutine[Any, Any, None]] = []
        for person in people:
            self._open(Stream("post", person.id), everybody - {person.id})
            writers.append(self._write_posts(person))
        writers += self.talk(list(itertools.pairwise(people)))
        for stranger in strangers:
            self._open(Stream("friend", people[0].id, stranger.id), frozenset([people[0].id]))
        return [*writers, self._befriend(people[0], strangers)]

    def talk(self, pairs: Sequence[tuple[Person, Person]]) -> list[Coroutine[Any, Any, None]]:
        """Writers, until `stop` is set: the two of each pair write to each other, and read."""
        writers: list[Coroutine[Any, Any, None]] = []
        for pair in pairs:
            ids = frozenset(person.id for person in pair)
            self._open(dialog(*ids), ids)
            for me, other in (pair, pair[::-1]):
                self._open(Stream("read", me.id, other.id), ids)
                writers.append(self._write_messages(me, other))
        return writers

    def concerning(self, person: int) -> Iterator[tuple[Stream, dict[int, Entry]]]:
        """The streams of which somebody's clients are sent the facts."""
        for stream, facts in self.streams.items():
            if person in self.audiences[stream]:
                yield stream, facts

    async def reach(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = self.count + more
        async with asyncio.timeout(2 * _ANSWERED_WITHIN_S), self._counted:
            await self._counted.wait_for(lambda: self.count >= wanted)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The event log does not answer during the block."""
        began = time.monotonic()
        yield
        self.outages.append((began, time.monotonic()))

    def during_outages(self) -> list[Answered]:
        """The attempts that began while the event log did not answer."""
        return [
            one
            for one in self.answered
            if any(began <= one.at < ended for began, ended in self.outages)
        ]

    def _open(self, stream: Stream, audience: frozenset[int]) -> None:
        self.streams[stream] = {}
        self.audiences[stream] = audience

    async def _write_posts(self, author: Person) -> None:
        errand, stream = Errand(self.urls, self.answered), Stream("post", author.id)
        async for number in self._paced():
            if number % _REFUSED_EVERY == 0:
                await self._be_refused(errand, author)
            new = {"content": f"Post {number}", "client_id": f"c{next(_client_ids)}"}
            await self._write(errand, author.ask("POST", "/posts", new), stream)
        errand.close()

    async def _write_messages(self, me: Person, to: Person) -> None:
        errand, stream = Errand(self.urls, self.answered), dialog(me.id, to.id)
        path = f"/dialogs/{to.id}"
        async for number in self._paced():
            new = {"content": f"Message {number}", "client_id": f"c{next(_client_ids)}"}
            last = await self._write(errand, me.ask("POST", f"{path}/messages", new), stream)
            if number % _READ_EVERY == 0:
                asked_at = time.monotonic()
                answer = await errand.ask(me.ask("POST", f"{path}/read", {"up_to": last}))
                assert answer.status == 204, answer
                await self._note(Stream("read", me.id, to.id), last, asked_at, {})
        errand.close()

    async def _befriend(self, me: Person, strangers: Sequence[Person]) -> None:
        errand = Errand(self.urls, self.answered)
        waiting = iter(strangers)
        async for _ in self._paced():
            if (stranger := next(waiting, None)) is None:
                break
            for asks, other in ((stranger, me), (me, stranger)):
                asked_at = time.monotonic()
                answer = await errand.ask(asks.ask("PUT", f"/friends/{other.id}"))
                assert answer.status == 200, answer
                made = int(asks is me)
                await self._note(Stream("friend", me.id, stranger.id), made, asked_at, {})
        errand.close()

    async def _write(self, errand: Errand, ask: Ask, stream: Stream) -> int:
        asked_at = time.monotonic()
        answer = await errand.ask(ask)
        # 200: the answer to the first attempt was lost.
        assert answer.status in (200, 201), answer
        number: int = answer.json["id"]
        await self._note(stream, number, asked_at, shown(answer.json))
        return number

    async def _be_refused(self, errand: Errand, me: Person) -> None:
        """Good content without a good token, or with what is wrong otherwise."""
        new = {"content": REFUSED_TEXT}
        for ask, status in (
            (Ask("POST", "/posts", new, me.token[:-2]), 401),
            (me.ask("POST", "/posts", new | {"privacy": "secret"}), 422),
            (me.ask("POST", f"/dialogs/{me.id}/messages", new), 422),
            (me.ask("POST", f"/dialogs/{_NOBODY}/messages", new), 404),
        ):
            answer = await errand.ask(ask)
            assert answer.status == status, answer
            self.refused[status] += 1

    async def _note(
        self, stream: Stream, number: int, asked_at: float, body: dict[str, Any]
    ) -> None:
        facts = self.streams[stream]
        assert number not in facts, f"{stream} {number} was acknowledged twice"
        facts[number] = Entry(asked_at, time.monotonic(), body)
        async with self._counted:
            self.count += 1
            self._counted.notify_all()

    async def _paced(self) -> Any:
        """1, 2, 3 …, until `stop` is set."""
        due = time.monotonic()
        for number in itertools.count(1):
            if self.stop.is_set():
                return
            yield number
            # Who is late does not catch up.
            due = max(due + self.interval_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
