"""POST /login: the form, the pair, and what it tells nobody."""

from __future__ import annotations

import secrets

import pytest

from tests.clients import PASSWORD, Client


def test_a_pair_of_tokens(client: Client) -> None:
    me = client.user()
    answer = client.login(me.username)
    assert answer.status_code == 200
    pair = answer.json()
    assert list(pair) == ["access_token", "refresh_token", "token_type", "expires_in"]
    assert pair["token_type"] == "bearer"
    assert pair["expires_in"] == 900
    assert answer.headers["cache-control"] == "no-store"
    mine = Client(client.root, pair["access_token"]).get("/users/me")
    assert mine.json()["id"] == me.id


def test_what_an_oauth2_client_sends_beside_it(client: Client) -> None:
    me = client.user()
    form = {
        "grant_type": "password",
        "username": me.username,
        "password": PASSWORD,
        "scope": "",
        "client_id": "",
        "client_secret": "",
    }
    assert client.post("/login", data=form).status_code == 200


def test_the_case_of_the_name_does_not_count(client: Client) -> None:
    me = client.user(username="Mixed-Case")
    for name in ("mixed-case", "MIXED-CASE"):
        token = client.token(name)
        assert Client(client.root, token).get("/users/me").json()["username"] == me.username


def test_the_case_of_the_password_does(client: Client) -> None:
    assert client.login(client.user().username, PASSWORD.upper()).status_code == 401


@pytest.mark.parametrize(
    "password", ["ё" * 8, "p&a=s+s%20 ;?", "😀" * 128, " " * 8, "ａＢｃ ДЖЗ 漢字"]
)
def test_any_text_is_a_password(client: Client, password: str) -> None:
    name = f"pw-{secrets.token_hex(6)}"
    names = {"first_name": "P", "last_name": "W"}
    client.post("/users", json={"username": name, "password": password, **names})
    assert client.login(name, password).status_code == 200
    assert client.login(name, password + " ").status_code == 401


def test_utf_8_that_is_not_percent_encoded(client: Client) -> None:
    """What `curl -d` sends."""
    names = {"first_name": "C", "last_name": "U"}
    password = "пароль пароль"
    client.post("/users", json={"username": "curl-user", "password": password, **names})
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = f"username=curl-user&password={password}".encode()
    assert client.post("/login", content=body, headers=form).status_code == 200


def test_an_unknown_name_is_answered_like_a_wrong_password(client: Client) -> None:
    me = client.user()
    wrong, unknown = (client.login(name, "not this one") for name in (me.username, "nobody-here"))
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert sorted(wrong.headers) == sorted(unknown.headers)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"username": "somebody"},
        {"password": PASSWORD},
        {"grant_type": "password"},
        {"grant_type": "refresh_token"},
        {"grant_type": "refresh_token", "username": "somebody", "password": PASSWORD},
        {"grant_type": "client_credentials", "username": "somebody", "password": PASSWORD},
        {"grant_type": "", "username": "somebody", "password": PASSWORD},
        {"username": "some\0body", "password": PASSWORD},
        {"username": "somebody", "password": "nul\0"},
        {"username": "x" * 5000, "password": PASSWORD},
        {"grant_type": "refresh_token", "refresh_token": "x" * 60_000},
    ],
)
def test_forms_that_lack_something(client: Client, form: dict[str, str]) -> None:
    assert client.post("/login", data=form).status_code == 422


def test_json_is_no_form(client: Client) -> None:
    fields = {"username": client.user().username, "password": PASSWORD}
    assert client.post("/login", json=fields).status_code == 422


@pytest.mark.parametrize("body", [b"username=%ff&password=x", b"username=\xff", b"a=%ED%A0%80"])
def test_bad_utf_8(client: Client, body: bytes) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=body, headers=form).status_code == 400


def test_a_field_given_twice(client: Client) -> None:
    me = client.user()
    form = {"username": [me.username, "other"], "password": PASSWORD}
    refused = client.post("/login", data=form)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "username"]


def test_a_form_over_64_kib(client: Client) -> None:
    assert client.login("x" * 65536).status_code == 413
