"""Somebody else's things, by their ids: every endpoint that takes one (ASVS 8.2, 8.3).

A new endpoint with an id in its path needs a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from hlfast.endpoints import ENDPOINTS
from tests.clients import Client
from tests.http import Response

Answers = Callable[["World"], list[Response]]


@dataclass
class World:
    """A victim, with all that they have, and a stranger to them."""

    victim: Client
    friend: Client
    stranger: Client
    private: int
    public: int
    messages: int

    def known(self) -> Mapping[str, Any]:
        """Everything of the victim's, and what their friend sees of it."""
        me = self.victim
        return {
            "profile": me.get("/users/me").json(),
            "wall": me.items(f"/users/{me.id}/posts"),
            "friends": me.items("/friends"),
            "asked": me.items("/friends/requests"),
            "dialogs": me.items("/dialogs"),
            "messages": me.items(f"/dialogs/{self.friend.id}/messages"),
            "friend's": self.friend.items("/dialogs"),
            "feed": self.friend.items("/feed"),
        }


@pytest.fixture
def world(client: Client) -> World:
    victim, friend, stranger = client.user(), client.user(), client.user()
    victim.befriend(friend)
    other = client.user()
    assert other.put(f"/friends/{victim.id}").status_code == 200
    private = victim.write("For friends", privacy="friends")
    public = victim.write("For all")
    for number in range(3):
        friend.send_to(victim, f"Between us {number}")
    return World(victim, friend, stranger, private["id"], public["id"], 3)


def on_posts(method: str, **sent: Any) -> Answers:
    """A request for a post that the stranger may not see, and for one that they may."""
    return lambda world: [
        world.stranger.request(method, f"/posts/{world.private}", **sent),
        world.stranger.request(method, f"/posts/{world.public}", **sent),
    ]


def on_victim(method: str, path: str, *bodies: Any) -> Answers:
    """With the victim's id in the path."""
    return lambda world: [
        world.stranger.request(
            method, path.format(world.victim.id), **({} if body is None else {"json": body})
        )
        for body in (bodies or (None,))
    ]


# Endpoint -> what the stranger does, what comes of it, and what of the victim's may change by it.
ROWS: dict[tuple[str, str], tuple[Answers, list[set[int]], set[str]]] = {
    ("GET", "/users/{id}"): (on_victim("GET", "/users/{}"), [{200}], set()),
    ("PATCH", "/users/{id}"): (
        on_victim(
            "PATCH",
            "/users/{}",
            {"disabled": True},
            {"disabled": None},
            {},
            {"first_name": "Mine"},
            {"is_superuser": True},
        ),
        [{403}, {403, 422}, {403}, {403, 422}, {403, 422}],
        set(),
    ),
    ("GET", "/users/{id}/posts"): (on_victim("GET", "/users/{}/posts"), [{200}], set()),
    ("GET", "/posts/{id}"): (on_posts("GET"), [{404}, {200}], set()),
    ("PATCH", "/posts/{id}"): (
        on_posts("PATCH", json={"content": "Mine"}),
        [{404}, {403}],
        set(),
    ),
    ("DELETE", "/posts/{id}"): (on_posts("DELETE"), [{404}, {403}], set()),
    ("PUT", "/friends/{user_id}"): (on_victim("PUT", "/friends/{}"), [{200}], {"asked"}),
    ("GET", "/friends/{user_id}"): (on_victim("GET", "/friends/{}"), [{200}], set()),
    ("DELETE", "/friends/{user_id}"): (on_victim("DELETE", "/friends/{}"), [{404}], set()),
    ("POST", "/dialogs/{user_id}/messages"): (
        on_victim("POST", "/dialogs/{}/messages", {"content": "Hello"}),
        [{201}],
        {"dialogs"},
    ),
    ("GET", "/dialogs/{user_id}/messages"): (
        on_victim("GET", "/dialogs/{}/messages"),
        [{200}],
        set(),
    ),
    ("POST", "/dialogs/{user_id}/read"): (
        on_victim("POST", "/dialogs/{}/read", {"up_to": 1}, {"up_to": 3}),
        [{204, 404, 422}] * 2,
        set(),
    ),
}


def test_every_endpoint_with_an_id_is_tried() -> None:
    assert {(row.method, row.path) for row in ENDPOINTS if row.parameter} == ROWS.keys()


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_a_stranger(world: World, row: tuple[str, str]) -> None:
    act, wanted, may_change = ROWS[row]
    before = world.known()
    answers = act(world)
    assert [answer.status_code in one for answer, one in zip(answers, wanted, strict=True)] == [
        True
    ] * len(wanted), [answer.status_code for answer in answers]
    # What only the victim and their friend may read is in no answer, whatever its status.
    for answer in answers:
        assert "For friends" not in answer.text
        assert "Between us" not in answer.text
    after = world.known()
    assert {name for name in before if before[name] != after[name]} <= may_change
    # Of what changed, only the stranger's own doing is new.
    for name in may_change:
        new = [one for one in after[name] if one not in before[name]]
        assert all(str(world.stranger.id) in str(one) for one in new)
        assert [one for one in before[name] if one not in after[name]] == []


def test_ids_in_a_body_are_nobodys(world: World) -> None:
    """Who one is comes from the token alone."""
    before, them, me = world.known(), world.victim.id, world.stranger
    tries = [
        ("POST", "/posts", {"content": "Theirs", "author_id": them}),
        ("POST", "/posts", {"content": "Theirs", "user_id": them}),
        ("PATCH", "/users/me", {"id": them, "first_name": "Mine"}),
        ("PATCH", "/users/me", {"is_superuser": True}),
        ("PATCH", "/users/me", {"token_version": 7}),
        ("PATCH", "/users/me", {"username": world.victim.username}),
        ("POST", "/users/me/password", {"old_password": "", "new_password": "x" * 8, "id": them}),
        ("POST", f"/dialogs/{world.friend.id}/messages", {"content": "x", "from_user_id": them}),
        ("POST", f"/dialogs/{world.friend.id}/read", {"up_to": 3, "user_id": them}),
    ]
    for method, path, body in tries:
        assert me.request(method, path, json=body).status_code == 422, path
    new = {"username": "squatter", "password": "x" * 8, "first_name": "A", "last_name": "B"}
    for more in ({"is_superuser": True}, {"id": them}, {"token_version": 1}, {"disabled": False}):
        assert me.post("/users", json=new | more).status_code == 422
    assert world.known() == before


def test_nothing_of_mine_without_a_token(client: Client) -> None:
    """Nor with one that is for something else."""
    refresh = client.login(client.user().username).json()["refresh_token"]
    for row in ENDPOINTS:
        if not row.is_public:
            path = row.path.replace("{id}", "1").replace("{user_id}", "1")
            for headers in ({}, {"Authorization": f"Bearer {refresh}"}):
                answer = client.request(row.method, path, headers=headers)
                assert answer.status_code == 401, (row.method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
