"""PATCH /users/{id}: what only a superuser may do."""

from __future__ import annotations

from typing import Any

import pytest

from hl_utils.servers.services import Api
from tests.clients import Client
from tests.superusers import make_superuser, superuser


@pytest.fixture(scope="module")
def boss(api: Api) -> Client:
    """A superuser."""
    return superuser(api)


def test_a_disabled_user_is_out(client: Client, boss: Client) -> None:
    me = client.user()
    pair = client.login(me.username).json()
    answer = boss.patch(f"/users/{me.id}", json={"disabled": True})
    assert answer.status_code == 200
    assert answer.json() == client.get(f"/users/{me.id}").json()
    assert me.get("/users/me").status_code == 401
    assert client.login(me.username).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert client.post("/login", data=form).status_code == 401


def test_a_disabled_user_may_come_back(client: Client, boss: Client) -> None:
    me = client.user()
    refresh = client.login(me.username).json()["refresh_token"]
    for disabled in (True, False):
        boss.patch(f"/users/{me.id}", json={"disabled": disabled})
    assert client.login(me.username).status_code == 200
    assert me.get("/users/me").status_code == 200
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    assert client.post("/login", data=form).status_code == 200


def test_a_wrong_password_of_a_disabled_user_looks_the_same(client: Client, boss: Client) -> None:
    me = client.user()
    boss.patch(f"/users/{me.id}", json={"disabled": True})
    right, wrong = client.login(me.username), client.login(me.username, "not this one")
    assert right.json() | {"request_id": ""} == wrong.json() | {"request_id": ""}


def test_an_empty_change_changes_nothing(client: Client, boss: Client) -> None:
    me = client.user()
    boss.patch(f"/users/{me.id}", json={"disabled": True})
    assert boss.patch(f"/users/{me.id}", json={}).status_code == 200
    assert client.login(me.username).status_code == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"disabled": None},
        {"disabled": 1},
        {"disabled": "true"},
        {"is_superuser": True},
        {"first_name": "Other"},
        {"disabled": True, "bio": "x"},
    ],
)
def test_nothing_else_can_be_set(client: Client, boss: Client, fields: Any) -> None:
    me = client.user()
    assert boss.patch(f"/users/{me.id}", json=fields).status_code == 422
    assert me.get("/users/me").status_code == 200


def test_there_must_be_such_a_user(boss: Client) -> None:
    for unknown in (2**31 - 1, 2**31, 2**53, 0):
        assert boss.patch(f"/users/{unknown}", json={"disabled": True}).status_code == 404


def test_nobody_else_may(client: Client) -> None:
    me, other = client.user(), client.user()
    for user_id in (me.id, other.id, 2**31 - 1):
        for fields in ({"disabled": True}, {"disabled": False}, {}):
            assert me.patch(f"/users/{user_id}", json=fields).status_code == 403
    assert client.patch(f"/users/{me.id}", json={"disabled": True}).status_code == 401
    assert other.get("/users/me").status_code == 200


def test_a_disabled_superuser_may_not_either(client: Client, boss: Client, api: Api) -> None:
    other = superuser(api)
    assert boss.patch(f"/users/{other.id}", json={"disabled": True}).status_code == 200
    assert other.patch(f"/users/{boss.id}", json={"disabled": True}).status_code == 401
    assert boss.get("/users/me").status_code == 200


def test_tokens_of_before_are_no_superusers(client: Client, api: Api) -> None:
    """Also where the user is still remembered as they were; the superuser logs in anew."""
    me, other = client.user(), client.user()
    post = other.write()
    assert me.get("/users/me").status_code == 200
    make_superuser(api, me.username)
    assert me.patch(f"/users/{other.id}", json={"disabled": True}).status_code in (401, 403)
    assert me.delete(f"/posts/{post['id']}").status_code in (401, 403)
    assert other.get("/users/me").status_code == 200
    boss = Client(client.root, client.token(me.username))
    assert boss.delete(f"/posts/{post['id']}").status_code == 204
    assert boss.patch(f"/users/{other.id}", json={"disabled": True}).status_code == 200


def test_a_superusers_old_tokens_are_not_either(client: Client, api: Api) -> None:
    """After a change of her password in another process, which this one has not heard of."""
    boss, other = superuser(api), client.user()
    post = other.write()
    assert boss.get("/users/me").status_code == 200
    make_superuser(api, boss.username)
    assert boss.delete(f"/posts/{post['id']}").status_code == 403
    assert boss.patch(f"/users/{other.id}", json={"disabled": True}).status_code == 401
    # And now it has.
    assert boss.get("/users/me").status_code == 401
    assert other.get(f"/posts/{post['id']}").status_code == 200


def test_any_post_may_be_deleted_by_a_superuser(client: Client, boss: Client) -> None:
    me = client.user()
    for privacy in ("public", "friends"):
        post = me.write(privacy=privacy)
        assert boss.delete(f"/posts/{post['id']}").status_code == 204
        assert me.get(f"/posts/{post['id']}").status_code == 404
        assert boss.delete(f"/posts/{post['id']}").status_code == 404


def test_a_superuser_sees_and_changes_no_more_than_others(client: Client, boss: Client) -> None:
    me = client.user()
    public, hidden = me.write(), me.write(privacy="friends")
    assert boss.patch(f"/posts/{public['id']}", json={"content": "x"}).status_code == 403
    assert boss.patch(f"/posts/{hidden['id']}", json={"content": "x"}).status_code == 404
    assert boss.get(f"/posts/{hidden['id']}").status_code == 404
    assert me.get(f"/posts/{public['id']}").json() == public
