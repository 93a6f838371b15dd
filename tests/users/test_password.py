"""POST /users/me/password."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import PASSWORD, Client

NEW = "another good one"


def change(me: Client, old: str = PASSWORD, new: str = NEW) -> int:
    """The status of a change."""
    fields = {"old_password": old, "new_password": new}
    return me.post("/users/me/password", json=fields).status_code


def test_the_new_password_is_the_only_one(client: Client) -> None:
    me = client.user()
    assert change(me) == 204
    assert client.login(me.username, PASSWORD).status_code == 401
    assert client.login(me.username, NEW).status_code == 200


def test_every_token_from_before_is_refused(client: Client) -> None:
    me = client.user()
    pair = client.login(me.username).json()
    assert change(me) == 204
    for token in (me.headers["authorization"], f"Bearer {pair['access_token']}"):
        assert client.get("/users/me", headers={"Authorization": token}).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert client.post("/login", data=form).status_code == 401
    again = Client(client.root, client.token(me.username, NEW))
    assert again.get("/users/me").json()["id"] == me.id


def test_a_wrong_old_password_changes_nothing(client: Client) -> None:
    me = client.user()
    for wrong in ("", "wrong", PASSWORD.upper(), PASSWORD + " "):
        assert change(me, old=wrong) == 403
    assert me.get("/users/me").status_code == 200
    assert client.login(me.username).status_code == 200


def test_others_stay_logged_in(client: Client) -> None:
    me, other = client.user(), client.user()
    assert change(me) == 204
    assert other.get("/users/me").status_code == 200


@pytest.mark.parametrize(("length", "status"), [(7, 422), (8, 204), (128, 204), (129, 422)])
def test_lengths(client: Client, length: int, status: int) -> None:
    me = client.user()
    assert change(me, new="ж" * length) == status
    expected = "ж" * length if status == 204 else PASSWORD
    assert client.login(me.username, expected).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"old_password": PASSWORD},
        {"new_password": NEW},
        {"old_password": None, "new_password": NEW},
        {"old_password": PASSWORD, "new_password": None},
        {"old_password": PASSWORD, "new_password": 12345678},
        {"old_password": PASSWORD, "new_password": NEW, "username": "me"},
        {"old_password": PASSWORD, "new_password": "nul\0 nul nul"},
    ],
)
def test_what_is_no_change(client: Client, fields: Any) -> None:
    me = client.user()
    assert me.post("/users/me/password", json=fields).status_code == 422
    assert client.login(me.username).status_code == 200
