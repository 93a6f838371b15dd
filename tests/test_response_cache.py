"""What the cache holds is never older than the database: with and without it all looks alike."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer, rows
from hlfast.response_cache import ResponseCache
from tests.clients import Client
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database

PEOPLE, STEPS = 4, 150


def test_a_body_is_served_in_its_version_only() -> None:
    bodies = ResponseCache(10_000)
    bodies.put("ada", 1, b"first")
    assert bodies.get("ada", 1) == b"first"
    assert bodies.get("ada", 2) is None
    assert bodies.get("bob", 1) is None
    bodies.put("ada", 2, b"second")
    assert bodies.get("ada", 1) is None
    bodies.clear()
    assert bodies.get("ada", 2) is None


def test_what_is_asked_for_once_is_not_stored() -> None:
    bodies = ResponseCache(10_000)
    bodies.put_again("ada", 1, b"first")
    assert bodies.get("ada", 1) is None
    bodies.put_again("ada", 1, b"first")
    assert bodies.get("ada", 1) == b"first"


def test_the_oldest_are_evicted() -> None:
    bodies = ResponseCache(10_000)
    for number in range(1000):
        bodies.put(number, 1, b"x" * 600)
    cached = [number for number in range(1000) if bodies.get(number, 1)]
    assert cached == list(range(1000 - len(cached), 1000))
    assert 5 < len(cached) < 17
    bodies.put("large", 1, b"x" * 20_000)
    assert bodies.get("large", 1) is None
    assert bodies.get(999, 1) == b"x" * 600
    bodies.put("small", 1, b"x")
    assert bodies.get("small", 1) == b"x"


def test_what_is_asked_for_stays() -> None:
    bodies = ResponseCache(10_000)
    for number in range(1000):
        bodies.put(number, 1, b"x" * 600)
        assert number < 3 or all(bodies.get(hot, 1) for hot in range(3))
        bodies.get(min(number, 2), 1)


def test_keys_and_versions_count() -> None:
    """A search's version names all users of its page."""
    bodies = ResponseCache(10_000)
    for number in range(100):
        bodies.put((number, "x" * 1000), "y" * 2000, b"z")
    assert 0 < len(bodies) <= 3


def test_clear_forgets_all() -> None:
    bodies = ResponseCache(10_000)
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
    forgetful = {**MANY_CONNECTIONS, "HLFAST_TUNING__KEEP_BODIES": "false"}
    urls = url, redis_server.url
    with Api(*urls, **MANY_CONNECTIONS) as one, Api(*urls, **forgetful) as other:
        yield one, other


def looks(people: list[Client], names: list[str]) -> Iterator[tuple[int, str]]:
    """Every person with the paths that they may ask."""
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
            for who, path in chance.sample(asked, 8):
                cached, fresh = people[who].get(path), doubles[who].get(path)
                assert (cached.status_code, cached.content) == (fresh.status_code, fresh.content), (
                    path
                )
        for double in doubles:
            double.close()


INSERT_USER = (
    'INSERT INTO "user" (id, username, username_key, password_hash, first_name, last_name, '
    "first_key, last_key, bio, version) VALUES ({victim}, '{name}', '{name}', 'x', 'Hand', 'Made', "
    "'hand', 'made', {bio}, {version})"
)
MESSAGE = "UPDATE message SET content = 'by hand' WHERE from_user_id = {friend}"
# In this order, on one pair of processes: what one leaves is what the next one begins with.
BY_HAND = (
    "UPDATE \"user\" SET bio = 'old' WHERE id = {victim}",
    "UPDATE \"user\" SET bio = 'old ' WHERE id = {victim}",
    "UPDATE \"user\" SET bio = NULL, city = 'Ω', birthdate = '2000-02-29' WHERE id = {victim}",
    "UPDATE \"user\" SET last_name = 'Erased', version = 1 WHERE id = {victim}",
    'UPDATE "user" SET version = version - 1 WHERE id = {victim}',
    "UPDATE \"user\" SET bio = 'other' WHERE id = {victim}",
    'DELETE FROM "user" WHERE id = {victim}',
    INSERT_USER.replace("{bio}", "NULL").replace("{version}", "1"),
    'DELETE FROM "user" WHERE id = {victim}',
    INSERT_USER.replace("{bio}", "'restored'").replace("{version}", "2"),
    'UPDATE "user" SET id = {victim} + 1000000 WHERE id = {victim}',
    INSERT_USER.replace("{bio}", "'another'")
    .replace("{version}", "1")
    .replace("'{name}'", "'{name}2'"),
    'DELETE FROM "user" WHERE id = {victim}',
    "UPDATE \"user\" SET bio = 'back', id = {victim} WHERE id = {victim} + 1000000",
    "UPDATE post SET content = 'by hand' WHERE author_id = {friend}",
    "UPDATE post SET privacy = 'friends', version = 1 WHERE author_id = {victim}",
    "UPDATE post SET author_id = {me} WHERE author_id = {friend}",
    "UPDATE post SET author_id = {friend} WHERE author_id = {me}",
    "DELETE FROM post WHERE author_id = {victim}",
    "INSERT INTO post (author_id, content, privacy) VALUES ({victim}, 'by hand', 'public')",
    "UPDATE friend SET friend_id = {other} WHERE user_id = {me} AND friend_id = {victim}",
    "UPDATE friend SET friend_id = {victim} WHERE user_id = {me} AND friend_id = {other}",
    "UPDATE friend SET state = 1 WHERE user_id = {me} AND friend_id = {victim}",
    "UPDATE friend SET state = 3, version = 1 WHERE user_id = {me} AND friend_id = {victim}",
    "DELETE FROM friend WHERE user_id = {me} AND friend_id = {friend}",
    "INSERT INTO friend (user_id, friend_id, state, version) VALUES ({me}, {friend}, 3, 1)",
    MESSAGE,
    MESSAGE.replace("by hand", "again"),
    "DELETE FROM message WHERE from_user_id = {friend} AND id = 1",
    "UPDATE message SET dialog_id = dialog_id WHERE from_user_id = {friend}",
    "UPDATE dialog SET low_read = 0, high_read = 0 WHERE low_id = {me}",
    'DELETE FROM "user" WHERE id = {victim}',
    "DELETE FROM message WHERE from_user_id = {victim}",
    "DELETE FROM dialog WHERE high_id = {victim}",
)
TRUNCATED = ("TRUNCATE message", "TRUNCATE post")


def test_rows_changed_by_hand_are_shown_as_they_are(pair: tuple[Api, Api]) -> None:
    url = pair[0].settings["DATABASE_URL"]
    with Client(pair[0].url) as client:
        me, friend, victim, other = (
            client.user(first_name="Hand", last_name="Made") for _ in range(4)
        )
        double = Client(pair[1].url, me.headers["authorization"][7:])
        for one in (friend, victim):
            me.befriend(one)
            for _ in range(2):
                one.write()
                one.send_to(me)
        other.write()
        ids = {"me": me.id, "friend": friend.id, "victim": victim.id, "other": other.id}
        names = {"name": victim.username}
        paths = [
            *("/feed", "/feed?limit=1", "/users/search?first_name=hand", "/users/me"),
            "/users/search?first_name=hand&last_name=made&limit=3",
            *(f"/users/{one}" for one in ids.values()),
            *(f"/dialogs/{one}/messages" for one in (friend.id, victim.id)),
            *(f"/dialogs/{one}/messages?after=99" for one in (friend.id, victim.id)),
        ]
        is_postgres = url.startswith("postgres")
        for statement in BY_HAND + TRUNCATED * is_postgres:
            before = {}
            for path in paths * 3:
                before[path] = me.get(path)
            done = statement.format(**ids, **names)
            rows(url, done)
            for path in paths:
                cached, fresh = me.get(path), double.get(path)
                assert cached.status_code == fresh.status_code, (done, path)
                assert cached.status_code >= 400 or cached.text == fresh.text, (done, path)
                tag = before[path].headers.get("etag")
                if tag and fresh.text != before[path].text:
                    again = me.get(path, headers={"If-None-Match": tag})
                    assert again.status_code != 304, done
        double.close()


def test_an_edit_by_hand_is_an_edit_to_a_browser(client: Client, api: Api) -> None:
    author = client.user()
    post = author.write()
    path = f"/posts/{post['id']}"
    for number in range(3):
        tag = author.get(path).headers["etag"]
        rows(
            api.settings["DATABASE_URL"],
            f"UPDATE post SET content = '{number}' WHERE id = {post['id']}",
        )
        answer = author.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.json()["content"]) == (200, str(number))
