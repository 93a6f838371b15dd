"""PUT and DELETE /friends/{user_id}: who stands how to whom."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.clients import Client

REQUESTED, FRIENDS = {"status": "requested"}, {"status": "friends"}
# What one of the pair knows: are they friends, and did the other ask?
NOTHING, ASKED, ARE_FRIENDS = (False, False), (False, True), (True, False)


@pytest.fixture
def pair(client: Client) -> Sequence[Client]:
    """Two users who never met."""
    return client.user(), client.user()


def knows(me: Client, other: Client) -> tuple[bool, bool]:
    """Whether the other one is among my friends, and among those who asked me."""
    paths = ("/friends", "/friends/requests", "/friends/requests?direction=out")
    friends, asked, requested = (
        other.id in [user["id"] for user in me.get(path).json()["items"]] for path in paths
    )
    status = me.get(f"/friends/{other.id}").json()["status"]
    found = {"friends": friends, "asked": asked, "requested": requested}
    assert [word for word, holds in found.items() if holds] == [status] * (status != "none")
    return friends, asked


def ask(me: Client, other: Client) -> dict[str, str]:
    """The answer to a request."""
    answer = me.put(f"/friends/{other.id}")
    assert answer.status_code == 200
    return dict(answer.json())


def end(me: Client, other: Client) -> int:
    """The status of an end."""
    return me.delete(f"/friends/{other.id}").status_code


def test_asked_and_asked_again(pair: Sequence[Client]) -> None:
    a, b = pair
    for _ in range(3):
        assert ask(a, b) == REQUESTED
        assert (knows(a, b), knows(b, a)) == (NOTHING, ASKED)


def test_accepted_and_accepted_again(pair: Sequence[Client]) -> None:
    a, b = pair
    ask(a, b)
    for _ in range(3):
        assert ask(b, a) == FRIENDS
        assert ask(a, b) == FRIENDS
        assert (knows(a, b), knows(b, a)) == (ARE_FRIENDS, ARE_FRIENDS)


def test_declined(pair: Sequence[Client]) -> None:
    a, b = pair
    ask(a, b)
    assert end(b, a) == 204
    assert (knows(a, b), knows(b, a)) == (NOTHING, NOTHING)
    assert end(b, a) == end(a, b) == 404
    assert ask(a, b) == REQUESTED


def test_withdrawn(pair: Sequence[Client]) -> None:
    a, b = pair
    ask(a, b)
    assert end(a, b) == 204
    assert (knows(a, b), knows(b, a)) == (NOTHING, NOTHING)
    assert end(b, a) == end(a, b) == 404
    assert ask(b, a) == REQUESTED


@pytest.mark.parametrize("who", [0, 1])
def test_ended_by_either(pair: Sequence[Client], who: int) -> None:
    pair[0].befriend(pair[1])
    me, other = pair[who], pair[1 - who]
    assert end(me, other) == 204
    assert (knows(me, other), knows(other, me)) == (NOTHING, NOTHING)
    assert end(me, other) == end(other, me) == 404
    # Nothing is left over: friendship must be asked for and accepted anew.
    assert ask(other, me) == REQUESTED
    assert ask(me, other) == FRIENDS


def test_never_with_myself(client: Client) -> None:
    me = client.user()
    refused = me.put(f"/friends/{me.id}")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["path", "user_id"]
    assert end(me, me) == 404
    assert me.items("/friends") == me.items("/friends/requests") == []


@pytest.mark.parametrize("unknown", [0, -1, 2**31 - 1, 2**31, 2**32 + 1, 2**53, 10**30, "me", "x"])
def test_nobody_there(client: Client, unknown: int | str) -> None:
    me = client.user()
    assert me.put(f"/friends/{unknown}").status_code == 404
    assert me.delete(f"/friends/{unknown}").status_code == 404


def test_strangers_have_nothing_to_end(pair: Sequence[Client]) -> None:
    assert end(*pair) == 404


def test_a_third_one_is_not_concerned(client: Client) -> None:
    a, b, c = client.user(), client.user(), client.user()
    a.befriend(b)
    ask(a, c)
    assert end(c, b) == end(b, c) == 404
    assert knows(b, a) == ARE_FRIENDS
    assert knows(c, a) == ASKED
    assert knows(b, c) == knows(c, b) == NOTHING


@pytest.mark.parametrize("unknown", [0, 2**31 - 1, 2**31, 2**53, "x"])
def test_where_one_stands_with_nobody(client: Client, unknown: int | str) -> None:
    assert client.user().get(f"/friends/{unknown}").status_code == 404


def test_where_one_stands_with_oneself(client: Client) -> None:
    me = client.user()
    assert me.get(f"/friends/{me.id}").status_code == 422


def test_a_state_is_shown_to_nobody_else(client: Client) -> None:
    assert client.get(f"/friends/{client.user().id}").status_code == 401
