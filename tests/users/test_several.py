"""GET /users: several by their ids."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import Client

UNKNOWN = [2**31 - 1, 2**31, 2**53 - 1]


def several(client: Client, *ids: Any) -> list[dict[str, Any]]:
    answer = client.get("/users", params={"ids": ",".join(map(str, ids))})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    return list(answer.json()["items"])


def test_in_the_order_of_their_ids(client: Client) -> None:
    users = [client.user(first_name=name).id for name in ("Ada", "Яна", "花子")]
    for ids in (users, users[::-1], users[1:], users[:1]):
        assert several(client, *ids) == [client.get(f"/users/{one}").json() for one in ids]


def test_unknown_ones_are_left_out(client: Client) -> None:
    one, other = client.user().id, client.user().id
    for ids in ([one, *UNKNOWN, other], [*UNKNOWN, one, other]):
        assert [user["id"] for user in several(client, *ids)] == [one, other]
    assert several(client, *UNKNOWN) == []


def test_nobody_is_there_twice(client: Client) -> None:
    one, other = client.user().id, client.user().id
    assert [user["id"] for user in several(client, one, other, one)] == [one, other]


def test_none(client: Client) -> None:
    """As of a list that happens to be empty."""
    assert several(client) == []


def test_100_are_the_most(client: Client) -> None:
    me = client.user().id
    ids = [*range(2**30, 2**30 + 99), me]
    assert [user["id"] for user in several(client, *ids)] == [me]
    answer = client.get("/users", params={"ids": ",".join(map(str, [*ids, 1]))})
    assert answer.status_code == 422


WRONG = ["x", "1,", ",1", "1,,2", "0", "01", "-1", "1.0", "1%202", "1,+2", "1%0A", "9" * 17]


@pytest.mark.parametrize(
    "query", ["", "ids=1&ids=2", "ids=1&limit=5", *(f"ids={w}" for w in WRONG)]
)
def test_what_is_no_list_of_ids(client: Client, query: str) -> None:
    assert client.get(f"/users?{query}").status_code == 422


def test_a_change_is_seen_at_once(client: Client) -> None:
    me = client.user()
    several(client, me.id)
    me.patch("/users/me", json={"first_name": "Renamed"})
    assert [user["first_name"] for user in several(client, me.id)] == ["Renamed"]
