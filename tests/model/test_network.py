"""Random lives of a few people, in the service and in a model of it, compared all the way.

Redis comes and goes meanwhile: it may make an answer slower, never another one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from tests.clients import PASSWORD, Client
from tests.conftest import TEMPLATE, new_database
from tests.http import Response
from tests.model.network import Network

USERS_MIN, USERS_MAX = 2, 4
_names = itertools.count(1)

# Somebody, by position among those there are, and somebody else, counted from there on.
who = st.integers(0, USERS_MAX - 1)
whom = st.integers(0, 9)
MYSELF = 9
limits = st.sampled_from((1, 2, 3, 100))
client_ids = st.none() | st.sampled_from(("c1", "c2"))
privacies = st.sampled_from(("public", "friends"))
patches = st.fixed_dictionaries(
    {}, optional={"content": st.sampled_from(("x", "й" * 10, "日本")), "privacy": privacies}
)


class Life(RuleBasedStateMachine):
    """Each example has people of its own in a database that all of them share."""

    http: ClassVar[Client]
    redis: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.model = Network()
        self.tokens: dict[int, str] = {}
        self.every_post: list[int] = []  # deleted ones too

    def ask(self, me: int, method: str, path: str, body: Any = None) -> Response:
        headers = {"Authorization": f"Bearer {self.tokens[me]}"}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        return answer

    def one(self, number: int) -> int:
        ids = list(self.tokens)
        return ids[number % len(ids)]

    def two(self, me: int, other: int) -> tuple[int, int]:
        """Mostly two different ones."""
        ids = list(self.tokens)
        step = 0 if other == MYSELF else 1 + other % (len(ids) - 1)
        return ids[me % len(ids)], ids[(me + step) % len(ids)]

    def pages(self, me: int, path: str, parameter: str, limit: int) -> list[Any]:
        """All pages of a list."""
        found: list[Any] = []
        cursor = ""
        while True:
            page = self.ask(me, "GET", f"{path}?limit={limit}{cursor}").json()
            assert len(page["items"]) <= limit
            assert page["items"] or not cursor
            found += page["items"]
            if page["next"] is None:
                return found
            assert len(page["items"]) == limit
            cursor = f"&{parameter}={page['next']}"

    # People

    @initialize()
    def begin(self) -> None:
        if self.redis.process.poll() is not None:
            self.redis.start()
        for _ in range(USERS_MIN):
            self.register()

    @precondition(lambda self: USERS_MIN <= len(self.tokens) < USERS_MAX)
    @rule()
    def register(self) -> None:
        name = f"life-{next(_names)}"
        new = {"username": name, "password": PASSWORD, "first_name": "A", "last_name": "B"}
        created = self.http.post("/users", json=new)
        assert created.status_code == 201, created.text
        self.model.users[created.json()["id"]] = created.json()
        tokens = self.http.post("/login", data={"username": name, "password": PASSWORD})
        self.tokens[created.json()["id"]] = tokens.json()["access_token"]

    @rule(me=who, name=st.sampled_from(("Anna", "Яна", "花子")))
    def change_name(self, me: int, name: str) -> None:
        user = self.one(me)
        answer = self.ask(user, "PATCH", "/users/me", {"first_name": name})
        self.model.users[user]["first_name"] = name
        assert answer.json() == self.model.users[user]

    def put_friend(self, me: int, other: int) -> None:
        answer = self.ask(me, "PUT", f"/friends/{other}")
        status = answer.json()["status"] if answer.status_code == 200 else ""
        assert (answer.status_code, status) == self.model.put_friend(me, other)

    @rule(me=who, other=whom)
    def ask_or_accept(self, me: int, other: int) -> None:
        self.put_friend(*self.two(me, other))

    @rule(me=who, other=whom)
    def befriend(self, me: int, other: int) -> None:
        one, two = self.two(me, other)
        self.put_friend(one, two)
        self.put_friend(two, one)

    @rule(me=who, other=whom)
    def leave(self, me: int, other: int) -> None:
        one, two = self.two(me, other)
        answer = self.ask(one, "DELETE", f"/friends/{two}")
        assert answer.status_code == self.model.delete_friend(one, two)

    # Posts

    @rule(me=who, privacy=privacies, client_id=client_ids)
    def post(self, me: int, privacy: str, client_id: str | None) -> None:
        user = self.one(me)
        first = self.model.repeated_post(user, client_id)
        new = {"content": f"text {next(_names)}", "privacy": privacy}
        if client_id is not None:
            new["client_id"] = client_id
        answer = self.ask(user, "POST", "/posts", new)
        if first is not None:
            assert (answer.status_code, answer.json()) == (200, first)
            return
        assert answer.status_code == 201
        post = answer.json()
        assert post["id"] > max(self.every_post, default=0)
        assert (post["author_id"], post["content"]) == (user, new["content"])
        assert post["privacy"] == privacy
        self.every_post.append(post["id"])
        self.model.add_post(post, client_id)

    @precondition(lambda self: self.every_post)
    @rule(me=who, number=st.integers(0, 9), patch=patches)
    def edit(self, me: int, number: int, patch: dict[str, str]) -> None:
        user, post_id = self.one(me), self.every_post[-1 - number % len(self.every_post)]
        answer = self.ask(user, "PATCH", f"/posts/{post_id}", patch)
        assert answer.status_code == self.model.may_change(user, post_id)
        if answer.status_code == 200:
            old, new = self.model.posts[post_id], answer.json()
            assert new == old | patch | {"updated_at": new["updated_at"]}
            self.model.posts[post_id] = new

    @precondition(lambda self: self.every_post)
    @rule(me=who, number=st.integers(0, 9))
    def delete(self, me: int, number: int) -> None:
        user, post_id = self.one(me), self.every_post[-1 - number % len(self.every_post)]
        answer = self.ask(user, "DELETE", f"/posts/{post_id}")
        may = self.model.may_change(user, post_id)
        assert answer.status_code == (204 if may == 200 else may)
        if may == 200:
            del self.model.posts[post_id]

    @precondition(lambda self: self.every_post)
    @rule(me=who, number=st.integers(0, 9))
    def look_at_a_post(self, me: int, number: int) -> None:
        user, post_id = self.one(me), self.every_post[-1 - number % len(self.every_post)]
        answer = self.ask(user, "GET", f"/posts/{post_id}")
        post = self.model.posts.get(post_id)
        if post is not None and self.model.sees(user, post):
            assert (answer.status_code, answer.json()) == (200, post)
        else:
            assert answer.status_code == 404

    # Dialogs

    @rule(me=who, other=whom, ids=st.lists(client_ids, min_size=1, max_size=3))
    def send(self, me: int, other: int, ids: list[str | None]) -> None:
        one, two = self.two(me, other)
        for client_id in ids:
            self.send_one(one, two, client_id)

    def send_one(self, one: int, two: int, client_id: str | None) -> None:
        new = {"content": f"text {next(_names)}"}
        if client_id is not None:
            new["client_id"] = client_id
        answer = self.ask(one, "POST", f"/dialogs/{two}/messages", new)
        if one == two:
            assert answer.status_code == 422
            return
        first = self.model.repeated_message(one, two, client_id)
        if first is not None:
            assert (answer.status_code, answer.json()) == (200, first)
            return
        assert answer.status_code == 201
        message = answer.json()
        expected = {
            "id": len(self.model.messages(one, two)) + 1,
            "from_user_id": one,
            "to_user_id": two,
            "content": new["content"],
            "client_id": client_id,
            "read": False,
        }
        assert message == expected | {"created_at": message["created_at"]}
        self.model.add_message(message)

    @rule(me=who, other=whom, marks=st.lists(st.integers(1, 6), min_size=1, max_size=3))
    def mark_read(self, me: int, other: int, marks: list[int]) -> None:
        one, two = self.two(me, other)
        for up_to in marks:
            answer = self.ask(one, "POST", f"/dialogs/{two}/read", {"up_to": up_to})
            assert answer.status_code == (422 if one == two else 204)
            self.model.mark_read(one, two, up_to)

    @rule(me=who, other=whom, limit=limits)
    def read_a_dialog(self, me: int, other: int, limit: int) -> None:
        one, two = self.two(me, other)
        if one == two:
            return
        path, messages = f"/dialogs/{two}/messages", self.model.messages(one, two)
        assert self.pages(one, path, "before", limit) == messages[::-1]
        found: list[Any] = []
        while page := self.ask(one, "GET", f"{path}?after={len(found)}&limit={limit}").json()[
            "items"
        ]:
            found += page
        assert found == messages

    # Lists

    @rule(me=who, limit=limits)
    def look_at_lists(self, me: int, limit: int) -> None:
        user, model = self.one(me), self.model
        assert self.pages(user, "/friends", "after", limit) == model.friends_of(user)
        assert self.pages(user, "/friends/requests", "after", limit) == model.requests_to(user)
        assert self.pages(user, "/feed", "before", limit) == model.feed(user)
        assert self.pages(user, "/dialogs", "before", limit) == model.dialogs_of(user)

    @rule(me=who, author=whom, limit=limits)
    def look_at_a_wall(self, me: int, author: int, limit: int) -> None:
        one, two = self.two(me, author)
        found = self.pages(one, f"/users/{two}/posts", "before", limit)
        assert found == self.model.wall(one, two)

    # Redis

    @rule(what=st.sampled_from(("kill", "start", "restart", "flush")))
    def redis_changes(self, what: str) -> None:
        runs = self.redis.process.poll() is None
        if what in ("kill", "restart") and runs:
            self.redis.kill()
        if what == "restart" or (what == "start" and not runs):
            self.redis.start()
        if what == "flush" and runs:
            redis.Redis.from_url(self.redis.url).flushall()

    def teardown(self) -> None:
        for me in range(len(self.tokens)):
            self.look_at_lists(me, 100)
            for other in (MYSELF, *range(len(self.tokens) - 1)):
                self.look_at_a_wall(me, other, 100)
                self.read_a_dialog(me, other, 100)


@pytest.fixture
def life(database_server: SqlServer) -> Iterator[Callable[[], None]]:
    """Runs the machine on an API and a Redis that nobody else uses."""
    database = new_database(database_server, TEMPLATE)
    settings = {"HLFAST_REDIS_RETRY_S": 0.01}
    with RedisServer() as server, Api(database, server.url, **settings) as api:
        Life.redis = server
        with Client(api.url) as Life.http:
            yield lambda: run_state_machine_as_test(Life)
        assert "Traceback" not in api.log


def test_the_service_is_what_the_model_says(life: Callable[[], None]) -> None:
    life()
