"""/health/*, and what still works when a server is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from hl_utils.servers import families
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SERVERS, SqlServer, migrate
from tests.clients import Client

FAILURES_MAX = 3


class World:
    """An API with servers of its own, so that they can be stopped."""

    def __init__(self, database: SqlServer, redis: RedisServer, api: Api) -> None:
        self.database, self.redis, self.api = database, redis, api
        self.client = Client(api.url)

    def health(self, name: str) -> tuple[int, Any]:
        """Status and body of one of /health/*."""
        answer = self.client.get(f"{self.client.root}/health/{name}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert (answer.status_code == 503) == ("retry-after" in answer.headers)
        return answer.status_code, answer.json()

    def lapses(self) -> int:
        """How often Redis did not answer the API in time."""
        return self.api.log.count("Redis does not answer")

    def all_is_well(self) -> bool:
        """Whether nothing is missing."""
        return self.health("ready") == (200, {"status": "ok"})


@pytest.fixture(scope="module", params=SERVERS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Started once; each test leaves it whole."""
    settings = {
        "HLFAST_LOGIN_FAILURES_MAX": FAILURES_MAX,
        "HLFAST_REDIS_RETRY_S": 0.1,
        "HLFAST_REDIS_TIMEOUT_S": 1,
        "HLFAST_DATABASE_TIMEOUT_S": 2,
        "HLFAST_DRAIN_TIMEOUT_S": 1,
    }
    with (
        SERVERS[request.param]() as database,
        RedisServer() as redis,
        Api(migrate(database, "hlfast"), redis.url, **settings) as api,
    ):
        yield World(database, redis, api)


def test_all_is_well(world: World) -> None:
    assert world.health("live") == (200, {"status": "ok"})
    assert world.health("ready") == (200, {"status": "ok"})
    every = {"database": "ok", "dialogs": "ok", "redis": "ok", "events": "ok"}
    assert world.health("dependencies") == (200, every)


def everything_works(client: Client) -> None:
    """What a user does in a day."""
    a, b = client.user(), client.user()
    a.befriend(b)
    post = b.write(privacy="friends")
    assert a.items("/feed") == [post]
    message = a.send_to(b)
    assert b.items("/dialogs")[0]["last_message"] == message
    assert b.post(f"/dialogs/{a.id}/read", json={"up_to": 1}).status_code == 204
    assert len(client.items("/users/search", first_name="test", limit=1)) == 1


def throttling_works(world: World, *, is_away: bool = False) -> None:
    """So many guesses, and no more, are counted: by the process while Redis is away.

    Where Redis is late in between, one may be counted twice: by it, and by the process.
    """
    client, lapses = world.client, world.lapses()
    me, other = client.user(), client.user()
    guesses = [client.login(me.username, "not this one") for _ in range(FAILURES_MAX)]
    statuses = [guess.status_code for guess in guesses]
    if is_away or world.lapses() == lapses:
        assert statuses == [401] * FAILURES_MAX
    assert statuses[0] == 401
    assert {*statuses} <= {401, 429}
    assert client.login(me.username).status_code == 429
    assert client.login(other.username).status_code == 200


def stop(redis: RedisServer) -> Callable[[], None]:
    """Redis is gone; returns what brings it back."""
    redis.stop()
    return redis.start


def freeze(redis: RedisServer) -> Callable[[], None]:
    """Redis takes connections and never answers; returns what wakes it."""
    families.freeze(redis.process)
    return lambda: redis.process.send_signal(signal.SIGCONT)


def demote(redis: RedisServer) -> Callable[[], None]:
    """Redis answers, and takes nothing that is written; returns what lets it."""
    with Redis.from_url(redis.url) as client:
        client.replicaof("127.0.0.1", "1")

    def promote() -> None:
        with Redis.from_url(redis.url) as client:
            client.replicaof("NO", "ONE")

    return promote


@pytest.mark.parametrize("lose", [stop, freeze, demote])
def test_without_redis(world: World, lose: Callable[[RedisServer], Callable[[], None]]) -> None:
    bring_back = lose(world.redis)
    try:
        assert world.health("live") == (200, {"status": "ok"})
        assert world.health("ready") == (200, {"status": "degraded"})
        every = {"database": "ok", "dialogs": "ok"} | dict.fromkeys(
            ("redis", "events"), "unavailable"
        )
        assert world.health("dependencies") == (503, every)
        everything_works(world.client)
        throttling_works(world, is_away=True)
    finally:
        bring_back()
    wait_until(world.all_is_well, "Redis was not found again")
    everything_works(world.client)
    throttling_works(world)


def test_without_the_database(world: World) -> None:
    client = world.client
    me, other = client.user(), client.user()
    post, message = me.write(), me.send_to(other)
    world.database.stop()
    try:
        assert world.health("live") == (200, {"status": "ok"})
        assert world.health("ready") == (503, {"status": "unavailable"})
        every = dict.fromkeys(("database", "dialogs"), "unavailable") | dict.fromkeys(
            ("redis", "events"), "ok"
        )
        assert world.health("dependencies") == (503, every)
        for answer in (
            client.get(f"/users/{me.id}"),
            client.login(me.username),
            me.get(f"/posts/{post['id']}"),
            me.post("/posts", json={"content": "x"}),
            me.post(f"/dialogs/{other.id}/messages", json={"content": "x"}),
            me.get("/dialogs"),
            me.get("/feed"),
        ):
            assert answer.status_code == 503
        # What needs no database is answered as ever.
        assert me.post("/posts", json={}).status_code == 422
        assert client.get("/users/me").status_code == 401
        assert client.get("/users/0").status_code == 404
        assert client.get(f"{client.root}/docs").status_code == 200
    finally:
        world.database.start()
    wait_until(world.all_is_well, "the database was not found again")
    assert me.get(f"/posts/{post['id']}").json() == post
    assert other.items(f"/dialogs/{me.id}/messages") == [message]
    everything_works(client)
