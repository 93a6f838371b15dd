"""POST /users."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.clients import PASSWORD, Client

_numbers = itertools.count(1)
USER_KEYS = [
    "id", "username", "first_name", "last_name", "birthdate", "bio", "city", "country",
]  # fmt: skip


def new(**fields: Any) -> dict[str, Any]:
    """A registration."""
    name = f"new-{next(_numbers)}"
    names = {"first_name": "Ada", "last_name": "Lovelace"}
    return {"username": name, "password": PASSWORD, **names, **fields}


def without(field: str) -> dict[str, Any]:
    """A registration that lacks a field."""
    return {name: value for name, value in new().items() if name != field}


def test_the_user_comes_back_and_is_there(client: Client) -> None:
    optional = {"birthdate": "1815-12-10", "bio": "Poet", "city": "London", "country": "England"}
    fields = new(**optional)
    created = client.post("/users", json=fields)
    assert created.status_code == 201
    user = created.json()
    assert list(user) == USER_KEYS
    del fields["password"]
    assert user == {"id": user["id"], **fields}
    assert 1 <= user["id"] < 2**31
    assert created.headers["location"] == f"/api/v1/users/{user['id']}"
    assert client.get(f"{client.root}{created.headers['location']}").json() == user


def test_what_is_left_out_is_null(client: Client) -> None:
    user = client.post("/users", json=new()).json()
    assert [user[name] for name in ("birthdate", "bio", "city", "country")] == [None] * 4


def test_null_is_the_same_as_left_out(client: Client) -> None:
    nothing = dict.fromkeys(("birthdate", "bio", "city", "country"))
    created = client.post("/users", json=new(**nothing))
    assert created.status_code == 201
    assert created.json().items() >= nothing.items()


@pytest.mark.parametrize("field", ["username", "password", "first_name", "last_name"])
def test_required_fields(client: Client, field: str) -> None:
    for fields in (without(field), new(**{field: None})):
        refused = client.post("/users", json=fields)
        assert refused.status_code == 422
        assert [error["loc"] for error in refused.json()["errors"]] == [["body", field]]


@pytest.mark.parametrize(
    ("field", "shortest", "longest"),
    [
        ("username", 3, 32),
        ("password", 8, 128),
        ("first_name", 1, 64),
        ("last_name", 1, 64),
        ("bio", 0, 1000),
        ("city", 0, 64),
        ("country", 0, 64),
    ],
)
def test_lengths(client: Client, field: str, shortest: int, longest: int) -> None:
    def status(length: int) -> int:
        number = str(next(_numbers))
        text = (number + "x" * length)[:length] if field == "username" else "x" * length
        return client.post("/users", json=new(**{field: text})).status_code

    assert status(longest) == 201
    assert status(longest + 1) == 422
    if shortest:
        assert status(shortest - 1) == 422
    if field != "username":  # three characters may be taken
        assert status(shortest) == 201


def test_the_shortest_username(client: Client) -> None:
    assert client.post("/users", json=new(username="._-")).status_code == 201


@pytest.mark.parametrize("character", ["é", "Ж", "語", "😀", '"', "<"])
def test_characters_are_counted_and_not_bytes(client: Client, character: str) -> None:
    fields = {"first_name": character * 64, "last_name": character * 64, "bio": character * 1000}
    created = client.post("/users", json=new(password=character * 128, **fields))
    assert created.status_code == 201
    assert created.json().items() >= fields.items()
    for field, length in (("first_name", 65), ("bio", 1001), ("password", 129)):
        refused = client.post("/users", json=new(**{field: character * length}))
        assert refused.status_code == 422


def test_text_stays_as_it_was_sent(client: Client) -> None:
    """Markup stays as it is, and white space inside."""
    name = "<b>é&amp; \u00a0\n ;"
    assert client.post("/users", json=new(first_name=name)).json()["first_name"] == name
    bio = " \n\t"
    assert client.post("/users", json=new(bio=bio)).json()["bio"] == bio


@pytest.mark.parametrize(
    "username",
    [
        "a b",
        "a/b",
        "a@b",
        "abc\n",
        "\nabc",
        "абв",
        "ａｂｃ",
        "abé",
        "😀😀😀",
        "a\tb",
        "a%2e",
        "٣٤٥",
        "abc ",
    ],
)
def test_usernames_are_letters_digits_and_three_signs(client: Client, username: str) -> None:
    assert client.post("/users", json=new(username=username)).status_code == 422


def test_every_character_of_a_username(client: Client) -> None:
    for username in ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxy", "0123456789_.-"):
        created = client.post("/users", json=new(username=username))
        assert created.status_code == 201
        assert created.json()["username"] == username


def test_a_name_is_taken_in_any_case(client: Client) -> None:
    fields = new(username=f"Taken.{next(_numbers)}")
    assert client.post("/users", json=fields).status_code == 201
    for again in (fields["username"], fields["username"].upper(), fields["username"].lower()):
        assert client.post("/users", json=fields | {"username": again}).status_code == 409


@pytest.mark.parametrize("day", ["2000-02-29", "0001-01-01", "1970-01-01", "9999-12-31"])
def test_birthdates(client: Client, day: str) -> None:
    assert client.post("/users", json=new(birthdate=day)).json()["birthdate"] == day


@pytest.mark.parametrize(
    "day",
    [
        "2001-02-29", "2000-13-01", "2000-00-01", "0000-01-01", "10000-01-01", "2000-1-1",
        "20000101", "2000-01-01T00:00:00", "2000-01-01T00:00:00Z", "2000-W01-1", "01.01.2000",
        "", "today", "２０００-01-01", " 2000-01-01", "2000-01-01\n", "-001-01-01",
        946684800, 0, 1.5, True, [], {},
    ],
)  # fmt: skip
def test_what_is_no_birthdate(client: Client, day: Any) -> None:
    refused = client.post("/users", json=new(birthdate=day))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "birthdate"]


@pytest.mark.parametrize(
    "field", ["id", "is_superuser", "disabled", "password_hash", "Username", ""]
)
def test_unknown_fields(client: Client, field: str) -> None:
    refused = client.post("/users", json=new(**{field: 1}))
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["errors"]] == [["body", field]]


def test_every_error_is_named_at_once(client: Client) -> None:
    refused = client.post("/users", json={"username": "a", "bio": 5, "more": 1})
    names = {error["loc"][1] for error in refused.json()["errors"]}
    assert names == {"username", "password", "first_name", "last_name", "bio", "more"}


def test_nobody_sees_the_password(client: Client) -> None:
    fields = new(password="a very secret one")
    assert "secret" not in client.post("/users", json=fields).text
    assert "secret" not in client.post("/users", json=fields | {"bio": 1}).text
