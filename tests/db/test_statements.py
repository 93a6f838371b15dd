"""What goes to PostgreSQL: statements prepared at start, and nothing but their execution after."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.crowd import PASSWORD, Answer, Ask, Crowd, Line, Person
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.db import queries
from hlfast.db.postgres import connect
from hlfast.endpoints import ENDPOINTS
from tests.db.wire import Wire

POOL = 4
REQUESTS = 1000
SCENES = 2 * POOL  # at once, so that every connection of the pool is used

# How often each endpoint waits for the database.
ROUND_TRIPS = {
    "users_login": 2,  # the session that it begins
    "users_logout": 1,
    "users_register": 2,  # spares the hash of a name that is taken
    "users_get_me": 1,
    "users_change_me": 1,
    "users_change_password": 2,
    "users_search": 1,
    "users_several": 1,
    "users_get": 1,
    "users_administer": 1,
    "friends_put": 1,
    "friends_get": 1,
    "friends_delete": 1,
    "friends_friends": 1,
    "friends_requests": 1,
    "posts_create": 1,
    "posts_get": 1,
    "posts_change": 1,
    "posts_delete": 1,
    "posts_wall": 1,
    "posts_feed": 1,
    "dialogs_send": 1,
    "dialogs_messages": 1,
    "dialogs_listing": 2,  # the other database has the names
    "dialogs_read": 1,
    # Whether whoever asks is still a superuser.
    "lab_look": 1,
    "lab_flip": 1,
}

# No request waits for its event to be published and its row to be deleted.
EVENTS = [
    text
    for database in (queries.MAIN, queries.DIALOGS)
    for name, text in queries.load("postgres", database).items()
    if name.startswith(("outbox_", "messageoutbox_", "lease_"))
]

_numbers = itertools.count(1)


@dataclass(slots=True)
class Watched:
    """An API behind a counted wire."""

    api: Api
    wire: Wire
    parsed_at_start: list[str]
    direct_url: str  # the database, past the wire


@pytest.fixture(scope="module")
def watched(
    postgres_server: PostgresServer, redis_server: RedisServer, module_database_url: str
) -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(prefix="hlfast-wire-") as directory:
        wire = Wire(Path(directory), postgres_server.home.sockets, EVENTS)
        url = module_database_url.replace(str(postgres_server.home.sockets), directory)
        settings = {
            "HLFAST_DATABASE_POOL_SIZE": POOL,
            "HLFAST_REVOCATION_CHECK_S": 60,
            "HLFAST_LAB": True,
        }
        with wire, Api(url, redis_server.url, **settings) as api:
            yield Watched(api, wire, list(wire.parsed), module_database_url)


@dataclass(slots=True)
class Scene:
    """Some people, and one call of each endpoint."""

    watched: Watched
    line: Line
    me: Person
    friend: Person
    admin: Person
    round_trips: Counter[str] = field(default_factory=Counter)

    async def call(self, endpoint: str, ask: Ask, status: int = 200) -> Answer:
        """Ask, and note how often the service then asked the database."""
        before = self.watched.wire.round_trips
        answer = await self.line.ask(ask)
        assert answer.status == status, (endpoint, answer)
        self.round_trips[endpoint] = self.watched.wire.round_trips - before
        return answer

    async def play(self) -> None:
        """Every endpoint once, and nothing else but what keeps the scene as it was."""
        me, friend, call = self.me, self.friend, self.call
        await self._play_users()
        assert (await call("lab_look", self.admin.ask("GET", "/lab"))).json["process"]
        await call("lab_flip", self.admin.ask("PATCH", "/lab", {"keep_bodies": True}))
        await call("friends_put", me.ask("PUT", f"/friends/{self.admin.id}"))
        await call("friends_get", me.ask("GET", f"/friends/{self.admin.id}"))
        await call("friends_delete", me.ask("DELETE", f"/friends/{self.admin.id}"), 204)
        await call("friends_friends", me.ask("GET", "/friends"))
        await call("friends_requests", me.ask("GET", "/friends/requests"))
        new = {"content": "new", "client_id": f"c{next(_numbers)}"}
        post = (await call("posts_create", friend.ask("POST", "/posts", new), 201)).json
        path = f"/posts/{post['id']}"
        assert (await call("posts_get", me.ask("GET", path))).json == post
        await call("posts_change", friend.ask("PATCH", path, {"content": "changed"}))
        wall = await call("posts_wall", me.ask("GET", f"/users/{friend.id}/posts"))
        assert wall.json == (await call("posts_feed", me.ask("GET", "/feed"))).json
        await call("posts_delete", friend.ask("DELETE", path), 204)
        message = {"content": "hi", "client_id": f"c{next(_numbers)}"}
        dialog = f"/dialogs/{me.id}/messages"
        sent = (await call("dialogs_send", friend.ask("POST", dialog, message), 201)).json
        page = await call("dialogs_messages", me.ask("GET", f"/dialogs/{friend.id}/messages"))
        assert page.json["items"][0] == sent
        await call("dialogs_listing", me.ask("GET", "/dialogs"))
        read = me.ask("POST", f"/dialogs/{friend.id}/read", {"up_to": sent["id"]})
        await call("dialogs_read", read, 204)

    async def _play_users(self) -> None:
        me, call = self.me, self.call
        number = next(_numbers)
        new = {
            "username": f"scene-{number}",
            "password": PASSWORD,
            "first_name": "A",
            "last_name": "B",
        }
        created = (await call("users_register", Ask("POST", "/users", new), 201)).json
        form = {"username": new["username"], "password": PASSWORD}
        tokens = (await call("users_login", Ask("POST", "/login", form, form=True))).json
        out = {"refresh_token": tokens["refresh_token"]}
        await call("users_logout", Ask("POST", "/logout", out, form=True), 204)
        first = Ask("GET", "/users/me", token=tokens["access_token"])
        assert (await self.line.ask(first)).json == created
        passwords = {"old_password": PASSWORD, "new_password": "another password"}
        change = Ask("POST", "/users/me/password", passwords, tokens["access_token"])
        await call("users_change_password", change, 204)
        await call("users_get_me", me.ask("GET", "/users/me"))
        await call("users_change_me", me.ask("PATCH", "/users/me", {"bio": f"{number}"}))
        await call("users_search", Ask("GET", "/users/search?first_name=P&last_name=Q"))
        await call("users_several", Ask("GET", f"/users?ids={me.id},{self.friend.id}"))
        await call("users_get", Ask("GET", f"/users/{me.id}"))
        enable = self.admin.ask("PATCH", f"/users/{created['id']}", {"disabled": False})
        await call("users_administer", enable)


async def scene(watched: Watched, crowd: Crowd, line: Line) -> Scene:
    """Two friends who have a dialog and a superuser, all of them known to the API."""
    me, friend, admin = await crowd.people(3)
    await crowd.befriend(me, friend)
    connection = await connect(watched.direct_url)
    await connection.execute('UPDATE "user" SET is_superuser = true WHERE id = $1', admin.id)
    await connection.close()
    for person in (me, friend, admin):
        assert (await line.ask(person.ask("GET", "/users/me"))).status == 200
    hello = me.ask("POST", f"/dialogs/{friend.id}/messages", {"content": "hello"})
    assert (await line.ask(hello)).status == 201
    return Scene(watched, line, me, friend, admin)


def test_every_connection_prepares_every_statement_at_start(watched: Watched) -> None:
    statements = [
        text
        for database in (queries.MAIN, queries.DIALOGS)
        for text in queries.load("postgres", database).values()
    ]
    found = Counter(watched.parsed_at_start)
    # Beside them, asyncpg asks for the types that it does not know.
    times = {found[text] for text in statements}
    assert len(times) == 1
    assert min(times) >= POOL


def test_a_thousand_requests_cause_nothing_but_executions(watched: Watched) -> None:
    async def run() -> None:
        async with Crowd(watched.api.url, SCENES, processes=1) as crowd:
            scenes = [await scene(watched, crowd, line) for line in crowd.lines]
            await asyncio.gather(*(one.play() for one in scenes))

            before, parsed = watched.wire.messages.copy(), len(watched.wire.parsed)
            rounds = -(-REQUESTS // (SCENES * len(ENDPOINTS)))
            for _ in range(rounds):
                await asyncio.gather(*(one.play() for one in scenes))
            caused = watched.wire.messages - before
            assert watched.wire.parsed[parsed:] == []
            # Bind, Execute, Sync: no Parse, no Describe, no simple query that resets a session.
            assert caused.keys() == {"B", "E", "S"}
            assert len(set(caused.values())) == 1
            assert caused["B"] > REQUESTS / 2, "reads that meet are joined, but not that many"
            for one in scenes:
                assert one.round_trips.keys() == {endpoint.name for endpoint in ENDPOINTS}

    asyncio.run(run())


def test_how_often_each_endpoint_waits_for_the_database(watched: Watched) -> None:
    async def run() -> None:
        async with Crowd(watched.api.url, 1, processes=1) as crowd:
            alone = await scene(watched, crowd, crowd.lines[0])
            await alone.play()
            assert dict(alone.round_trips) == ROUND_TRIPS

    asyncio.run(run())


def test_refusals_and_repeats_prepare_nothing_either(watched: Watched) -> None:
    async def run() -> None:
        async with Crowd(watched.api.url, 1, processes=1) as crowd:
            alone = await scene(watched, crowd, crowd.lines[0])
            me, friend = alone.me, alone.friend
            before = watched.wire.messages.copy()
            unknown = 2**31 - 1
            for ask, status in (
                (me.ask("GET", f"/users/{unknown}"), 404),
                (me.ask("GET", f"/users/{2**31}"), 404),
                (me.ask("GET", f"/users/{unknown}/posts"), 404),
                (me.ask("PUT", f"/friends/{unknown}"), 404),
                (me.ask("PUT", f"/friends/{me.id}"), 422),
                (me.ask("DELETE", f"/friends/{unknown}"), 404),
                (me.ask("GET", f"/posts/{2**53 - 1}"), 404),
                (me.ask("DELETE", f"/posts/{2**53 - 1}"), 404),
                (me.ask("POST", f"/dialogs/{unknown}/messages", {"content": "x"}), 404),
                (me.ask("GET", f"/dialogs/{unknown}/messages"), 404),
                (me.ask("POST", f"/dialogs/{unknown}/read", {"up_to": 1}), 404),
                (me.ask("PATCH", f"/users/{friend.id}", {"disabled": True}), 403),
                (me.ask("GET", f"/dialogs/{friend.id}/messages?after=0"), 200),
                (me.ask("GET", "/users/search?first_name=x"), 200),
                (me.ask("GET", "/users/search?last_name=x"), 200),
                (me.ask("GET", "/users/search?first_name=xyz&last_name=x"), 200),
                (Ask("GET", "/users/me", token="no token"), 401),
            ):
                answer = await alone.line.ask(ask)
                assert answer.status == status, (ask, answer)
            caused = watched.wire.messages - before
            assert caused.keys() == {"B", "E", "S"}

    asyncio.run(run())
