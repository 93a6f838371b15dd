"""What is kept in memory is never older than the database: with and without it all looks alike."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from hlfast.bodies import Bodies
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

PEOPLE, STEPS = 4, 250


def test_a_body_is_served_in_its_version_only() -> None:
    bodies = Bodies(10_000)
    bodies.put("ada", 1, b"first")
    assert bodies.get("ada", 1) == b"first"
    assert bodies.get("ada", 2) is None
    assert bodies.get("bob", 1) is None
    bodies.put("ada", 2, b"second")
    assert bodies.get("ada", 1) is None
    bodies.clear()
    assert bodies.get("ada", 2) is None


def test_what_is_asked_for_once_is_not_kept() -> None:
    bodies = Bodies(10_000)
    bodies.put_again("ada", 1, b"first")
    assert bodies.get("ada", 1) is None
    bodies.put_again("ada", 1, b"first")
    assert bodies.get("ada", 1) == b"first"


def test_the_oldest_make_room() -> None:
    bodies = Bodies(10_000)
    for number in range(1000):
        bodies.put(number, 1, b"x" * 600)
    kept = [number for number in range(1000) if bodies.get(number, 1)]
    assert kept == list(range(1000 - len(kept), 1000))
    assert 5 < len(kept) < 17
    bodies.put("large", 1, b"x" * 20_000)
    assert bodies.get("large", 1) is None
    assert bodies.get(999, 1) == b"x" * 600
    bodies.put("small", 1, b"x")
    assert bodies.get("small", 1) == b"x"


def test_what_is_asked_for_stays() -> None:
    bodies = Bodies(10_000)
    for number in range(1000):
        bodies.put(number, 1, b"x" * 600)
        assert number < 3 or all(bodies.get(hot, 1) for hot in range(3))
        bodies.get(min(number, 2), 1)


def test_keys_and_versions_count() -> None:
    """A search's version names all users of its page."""
    bodies = Bodies(10_000)
    for number in range(100):
        bodies.put((number, "x" * 1000), "y" * 2000, b"z")
    assert 0 < len(bodies) <= 3


def test_clear_forgets_all() -> None:
    bodies = Bodies(10_000)
    for round_ in range(3):
        for number in range(100):
            bodies.put(number, round_, b"x")
            bodies.get(number, round_)
        bodies.clear()
        assert len(bodies) == bodies.size_bytes == 0


@pytest.fixture(scope="module")
def pair(database_server: SqlServer, redis_server: RedisServer) -> Iterator[tuple[Api, Api]]:
    """Two processes on one database; the second one keeps nothing."""
    url = new_database(database_server, TEMPLATE)
    forgetful = {"HLFAST_TUNING__KEEP_BODIES": "false"}
    with Api(url, redis_server.url) as one, Api(url, redis_server.url, **forgetful) as other:
        yield one, other


def looks(people: list[Client], names: list[str]) -> Iterator[tuple[int, str]]:
    """Who may ask what."""
    ids = [person.id for person in people]
    for me in range(len(people)):
        yield me, "/feed"
        yield me, "/feed?limit=2"
        yield me, "/users/me"
        yield me, "/dialogs"
        for other in ids:
            yield me, f"/users/{other}"
            yield me, f"/users/{other}/posts"
            if other != ids[me]:
                yield me, f"/dialogs/{other}/messages"
                yield me, f"/dialogs/{other}/messages?limit=2&before=4"
                yield me, f"/dialogs/{other}/messages?after=1"
    for name in names:
        yield 0, f"/users/search?first_name={name}"
        yield 0, f"/users/search?last_name={name[:2]}&limit=2"


@pytest.mark.parametrize("seed", range(3))
def test_a_walk_of_changes_looks_alike_with_and_without(pair: tuple[Api, Api], seed: int) -> None:
    """Changes come through either process; after each one both show the same, byte by byte."""
    chance = Random(seed)
    names = [f"walk{seed}{letter}" for letter in "abc"]
    with Client(pair[0].url) as client:
        people = [
            client.user(first_name=chance.choice(names), last_name=chance.choice(names))
            for _ in range(PEOPLE)
        ]
        doubles = [Client(pair[1].url, person.headers["authorization"][7:]) for person in people]
        posts: list[tuple[int, int]] = []
        asked = list(looks(people, names))
        for _ in range(STEPS):
            me, other = chance.sample(range(PEOPLE), 2)
            by = chance.choice((people, doubles))[me]
            match chance.randrange(9):
                case 0 | 1:
                    made = by.post("/posts", json={"content": str(chance.random())})
                    posts.append((me, made.json()["id"]))
                case 2 if posts:
                    author, post = chance.choice(posts)
                    change = chance.choice(({"content": "x"}, {"privacy": "friends"}))
                    chance.choice((people, doubles))[author].patch(f"/posts/{post}", json=change)
                case 3 if posts:
                    author, post = posts.pop(chance.randrange(len(posts)))
                    chance.choice((people, doubles))[author].delete(f"/posts/{post}")
                case 4 | 5:
                    by.put(f"/friends/{people[other].id}")
                case 6 if chance.random() < 0.5:
                    by.delete(f"/friends/{people[other].id}")
                case 7:
                    name = chance.choice(("first_name", "last_name"))
                    by.patch("/users/me", json={name: chance.choice(names)})
                case _:
                    message = by.post(
                        f"/dialogs/{people[other].id}/messages", json={"content": "x"}
                    )
                    assert message.status_code == 201
                    if chance.random() < 0.5:
                        by.post(f"/dialogs/{people[other].id}/read", json={"up_to": 99})
            for who, path in chance.sample(asked, 12):
                kept, fresh = people[who].get(path), doubles[who].get(path)
                assert (kept.status_code, kept.content) == (fresh.status_code, fresh.content), path
        for double in doubles:
            double.close()
