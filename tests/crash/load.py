"""People who go on whatever happens, and the ledger of what was acknowledged to them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.crowd import PASSWORD, Answer, Ask, Crowd, Line, Person

WITHIN_S = 60.0
_POLL_S = 0.02


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(_POLL_S)


@dataclass(slots=True)
class Ledger:
    """Everything that was acknowledged, and every status on the way."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)  # 503s by actor
    broken: Counter[int] = field(default_factory=Counter)  # broken connections by actor
    names: set[str] = field(default_factory=set)
    friends: set[tuple[int, int]] = field(default_factory=set)
    posts: dict[int, tuple[int, str]] = field(default_factory=dict)
    messages: dict[tuple[int, int], dict[int, tuple[int, str]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    people: dict[int, Person] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much was acknowledged."""
        written = sum(map(len, self.messages.values()))
        return len(self.names) + len(self.friends) + len(self.posts) + written

    async def grow(self, by: int) -> None:
        """Wait until so much more was acknowledged."""
        wanted = self.size + by
        await until(lambda: self.size >= wanted, "the service does not go on")


class Actor:
    """Writes to a partner, posts, makes friends; asks again until there is an answer."""

    def __init__(self, number: int, url: str, me: Person, partner: Person, ledger: Ledger) -> None:
        self._number, self._url, self._me, self._partner = number, url, me, partner
        self._ledger = ledger
        self._random = Random(number)
        self._line: Line | None = None
        self._count = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Write until the test stops it; what was begun is brought to its end."""
        acts = (self._write, self._post, self._make_friend)
        while not stop.is_set():
            self._count += 1
            await self._random.choices(acts, (6, 3, 1))[0](f"{self._number}-{self._count}")
        if self._line is not None:
            self._line.close()

    async def _insist(self, ask: Ask) -> Answer:
        """The answer, over broken connections and refusals."""
        while True:
            try:
                if self._line is None:
                    self._line = await Line.open(self._url)
                answer = await self._line.ask(ask)
            except OSError:
                self._ledger.broken[self._number] += 1
                if self._line is not None:
                    self._line.close()
                self._line = None
                await asyncio.sleep(_POLL_S)
                continue
            self._ledger.statuses[answer.status] += 1
            if answer.status != 503:
                return answer
            assert int(answer.headers["retry-after"]) >= 1
            self._ledger.refused[self._number] += 1
            await asyncio.sleep(_POLL_S)

    async def _write(self, text: str) -> None:
        me, partner = self._me, self._partner
        message = {"content": text, "client_id": text}
        answer = await self._insist(me.ask("POST", f"/dialogs/{partner.id}/messages", message))
        assert answer.status in (200, 201), answer
        assert answer.json["content"] == text
        dialog = self._ledger.messages[min(me.id, partner.id), max(me.id, partner.id)]
        assert answer.json["id"] not in dialog, "one id for two messages"
        dialog[answer.json["id"]] = (me.id, text)

    async def _post(self, text: str) -> None:
        post = {"content": text, "client_id": text}
        answer = await self._insist(self._me.ask("POST", "/posts", post))
        assert answer.status in (200, 201), answer
        assert answer.json["id"] not in self._ledger.posts, "one id for two posts"
        self._ledger.posts[answer.json["id"]] = (self._me.id, text)

    async def _make_friend(self, text: str) -> None:
        name = f"actor-{text}"
        new = {"username": name, "password": PASSWORD, "first_name": "A", "last_name": "B"}
        answer = await self._insist(Ask("POST", "/users", new))
        # 409: the first attempt had succeeded, and its answer was lost.
        assert answer.status in (201, 409), answer
        self._ledger.names.add(name)
        form = {"username": name, "password": PASSWORD}
        tokens = await self._insist(Ask("POST", "/login", form, form=True))
        assert tokens.status == 200, tokens
        mine = await self._insist(Ask("GET", "/users/me", token=tokens.json["access_token"]))
        friend = Person(mine.json["id"], name, tokens.json["access_token"], "")
        for one, other in ((self._me, friend), (friend, self._me)):
            answer = await self._insist(one.ask("PUT", f"/friends/{other.id}"))
            assert answer.status == 200, answer
        self._ledger.friends.add((self._me.id, friend.id))
        self._ledger.people[friend.id] = friend


async def everything(crowd: Crowd, me: Person, path: str) -> list[Any]:
    """All pages of a list that is paged by `after`."""
    found: list[Any] = []
    after = 0
    while True:
        mark = "&" if "?" in path else "?"
        answer = await crowd.ask(me.ask("GET", f"{path}{mark}limit=100&after={after}"))
        assert answer.status == 200, answer
        found += answer.json["items"]
        if answer.json["next"] is None:
            return found
        after = answer.json["next"]


async def wall(crowd: Crowd, me: Person) -> list[Any]:
    """All of my posts, newest first."""
    found: list[Any] = []
    before = ""
    while True:
        answer = await crowd.ask(me.ask("GET", f"/users/{me.id}/posts?limit=100{before}"))
        assert answer.status == 200, answer
        found += answer.json["items"]
        if answer.json["next"] is None:
            return found
        before = f"&before={answer.json['next']}"


async def audit(crowd: Crowd, ledger: Ledger) -> None:
    """Hold what the service has against the ledger: nothing missing, nothing twice."""
    people = ledger.people
    for name in ledger.names:
        await crowd.log_in(name)
    for one, other in ledger.friends:
        for me, them in ((one, other), (other, one)):
            friends = await everything(crowd, people[me], "/friends")
            assert them in {user["id"] for user in friends}
    for author in {author for author, _ in ledger.posts.values()}:
        posts = await wall(crowd, people[author])
        acknowledged = {i: text for i, (by, text) in ledger.posts.items() if by == author}
        assert {post["id"]: post["content"] for post in posts} == acknowledged
    for (low, high), acknowledged_messages in ledger.messages.items():
        messages = await everything(crowd, people[low], f"/dialogs/{high}/messages")
        assert [message["id"] for message in messages] == [*range(1, len(messages) + 1)]
        assert {
            message["id"]: (message["from_user_id"], message["content"]) for message in messages
        } == acknowledged_messages
        for me, other in ((low, high), (high, low)):
            [dialog] = (await crowd.ask(people[me].ask("GET", "/dialogs"))).json["items"]
            theirs = [m for m in messages if m["from_user_id"] == other]
            assert dialog["unread"] == len(theirs)
            assert dialog["last_message"] == messages[-1]
