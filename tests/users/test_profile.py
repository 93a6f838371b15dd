"""GET and PATCH /users/me, GET /users/{id}."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.clients import Client

FULL = {
    "first_name": "Grace",
    "last_name": "Hopper",
    "birthdate": "1906-12-09",
    "bio": "Found the first bug",
    "city": "New York",
    "country": "USA",
}


def test_me_is_what_everybody_sees(client: Client) -> None:
    me = client.user(**FULL)
    mine = me.get("/users/me")
    assert mine.json() == {"id": me.id, "username": me.username, **FULL}
    assert client.get(f"/users/{me.id}").json() == mine.json()
    assert client.user().get(f"/users/{me.id}").json() == mine.json()


def test_a_bad_token_does_not_matter_where_anyone_may_look(client: Client) -> None:
    me = client.user()
    answer = client.get(f"/users/{me.id}", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", "Gráce"),
        ("last_name", "X" * 64),
        ("birthdate", "2000-02-29"),
        ("bio", "y" * 1000),
        ("bio", ""),
        ("city", "z" * 64),
        ("country", "Ελλάδα"),
        ("birthdate", None),
        ("bio", None),
        ("city", None),
        ("country", None),
    ],
)
def test_one_field_changes_and_the_others_stay(client: Client, field: str, value: Any) -> None:
    me = client.user(**FULL)
    changed = me.patch("/users/me", json={field: value})
    assert changed.status_code == 200
    assert changed.json() == {"id": me.id, "username": me.username, **FULL, field: value}
    assert client.get(f"/users/{me.id}").json() == changed.json()
    assert me.get("/users/me").json() == changed.json()


def test_all_fields_at_once(client: Client) -> None:
    me = client.user()
    assert me.patch("/users/me", json=FULL).json().items() >= FULL.items()


def test_an_empty_change_changes_nothing(client: Client) -> None:
    me = client.user(**FULL)
    before = me.get("/users/me")
    answer = me.patch("/users/me", json={})
    assert (answer.status_code, answer.json()) == (200, before.json())
    assert me.get("/users/me").headers["etag"] == before.headers["etag"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", None),
        ("last_name", None),
        ("first_name", ""),
        ("last_name", ""),
        ("first_name", "x" * 65),
        ("last_name", "x" * 65),
        ("bio", "x" * 1001),
        ("city", "x" * 65),
        ("country", "x" * 65),
        ("birthdate", "2001-02-29"),
        ("birthdate", ""),
        ("bio", 5),
        ("city", ["x"]),
        ("username", "another"),
        ("password", "another one"),
        ("id", 1),
        ("disabled", True),
        ("is_superuser", True),
    ],
)
def test_what_cannot_be_set(client: Client, field: str, value: Any) -> None:
    me = client.user(**FULL)
    refused = me.patch("/users/me", json={field: value, "city": "x"} | {field: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", field]
    assert me.get("/users/me").json().items() >= FULL.items()  # nor was the other field


def test_a_new_name_is_found_at_once_and_the_old_one_no_more(client: Client) -> None:
    old, new = secrets.token_hex(8), secrets.token_hex(8)
    me = client.user(first_name=old, last_name=old)
    me.patch("/users/me", json={"first_name": new})
    found = client.items("/users/search", first_name=new)
    assert [user["id"] for user in found] == [me.id]
    assert client.items("/users/search", first_name=old) == []
    assert len(client.items("/users/search", last_name=old)) == 1
    assert len(client.items("/users/search", first_name=new, last_name=old)) == 1
