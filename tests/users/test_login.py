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


@pytest.mark.parametrize("multipart_form", [False, True])
def test_what_was_not_filled_in_is_none(client: Client, multipart_form: bool) -> None:
    """As the forms of FastAPI's own page are sent."""
    me = client.user()
    empty = dict.fromkeys(["grant_type", "scope", "client_id", "client_secret"], "")
    form = {"username": me.username, "password": PASSWORD, **empty}
    if multipart_form:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/login", content=multipart(form), headers=headers)
    else:
        answer = client.post("/login", data=form)
    assert answer.status_code == 200


def multipart(fields: dict[str, str]) -> bytes:
    """A form whose boundary is `b`."""
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return ("".join(parts) + "--b--\r\n").encode()


def test_a_multipart_form(client: Client) -> None:
    me = client.user(password="пароль пароль")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    form = multipart({"username": me.username, "password": "пароль пароль", "other": "x"})
    answer = client.post("/login", content=form, headers=headers)
    assert answer.status_code == 200
    form = multipart(
        {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    )
    assert client.post("/login", content=form, headers=headers).status_code == 200


GOOD = multipart({"username": "somebody", "password": PASSWORD})


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", GOOD, 400),
        ("multipart/form-data; boundary=", GOOD, 400),
        ("multipart/form-data; boundary=another", GOOD, 400),
        ("multipart/form-data; boundary=" + "x" * 1000, GOOD, 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", GOOD[:-6], 400),
        ("multipart/form-data; boundary=b", GOOD[:40], 400),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", GOOD.replace(b"some", b"s\xff"), 400),
        ("multipart/form-data; boundary=b", GOOD.replace(b"name=", b"names="), 400),
        ("multipart/form-data; boundary=b", GOOD.replace(b'"password"', b'"username"'), 422),
        ("multipart/form-data; boundary=b", GOOD.replace(b'd"', b'd"; filename="x"'), 422),
        ("multipart/form-data; boundary=b", GOOD.replace(b"some", b"\0"), 422),
        ("multipart/form-data; boundary=b", multipart({f"f{n}": "" for n in range(33)}), 400),
        ("Multipart/Form-Data; Boundary=b", GOOD, 401),
        ("application/x-www-form-urlencoded; charset=UTF-8", b"username=x&password=y", 401),
        ("Application/X-WWW-Form-Urlencoded", b"username=x&password=y", 401),
        ("", b"username=x&password=y", 401),
        ("multipart/mixed; boundary=b", GOOD, 415),
        ("text/plain", b"username=x&password=y", 415),
        ("application/json; charset=utf-8", b"{}", 415),
        ("nonsense", b"username=x&password=y", 415),
    ],
)
def test_other_forms(client: Client, kind: str, body: bytes, status: int) -> None:
    answer = client.post("/login", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    if status == 415:
        assert "multipart/form-data" in answer.headers["accept"]
        assert "application/x-www-form-urlencoded" in answer.json()["detail"]


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
        {"grant_type": ""},
        {"grant_type": "", "refresh_token": "x"},
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
    assert client.post("/login", json=fields).status_code == 415


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


def test_what_is_not_known_is_ignored(client: Client) -> None:
    """However often it comes, and be it a file."""
    me = client.user()
    form = {"username": me.username, "password": PASSWORD, "other": ["x", "y"]}
    assert client.post("/login", data=form).status_code == 200
    parts = multipart({"username": me.username, "password": PASSWORD, "other": "x"})
    other = b'--b\r\nContent-Disposition: form-data; name="other"; filename="x"\r\n\r\nx\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/login", content=other + parts, headers=headers).status_code == 200


def test_a_form_over_64_kib(client: Client) -> None:
    assert client.login("x" * 65536).status_code == 413
