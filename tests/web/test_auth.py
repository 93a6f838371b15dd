"""Bearer tokens: what is let in, and what is not (any more)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.services import SECRET, Api
from tests import wire
from tests.clients import PASSWORD, Client
from tests.superusers import superuser

# One of the bad tokens below is signed in a way that the secret is too short for.
pytestmark = pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")


def claims(user_id: object, **changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    now = int(time.time())
    good = {"sub": str(user_id), "ver": 0, "typ": "access", "iat": now, "exp": now + 600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def sign(said: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A signed token of these claims."""
    return jwt.encode(said, secret, algorithm)


def segment(data: bytes) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def status(client: Client, authorization: str) -> int:
    """How a call of mine with this header ends."""
    return client.get("/users/me", headers={"Authorization": authorization}).status_code


def test_a_good_one_made_here(client: Client) -> None:
    """What the bad ones below differ from."""
    assert status(client, f"Bearer {sign(claims(client.user().id))}") == 200


# Beyond what clocks may differ by.
LATE_S = 10
OTHER = {"access": "refresh", "refresh": "access"}
# Made for a user and a purpose: each has one thing wrong.
BAD: dict[str, Callable[[int, str], str]] = {
    "expired": lambda me, typ: sign(claims(me, typ=typ, exp=int(time.time()) - LATE_S)),
    "from a future": lambda me, typ: sign(claims(me, typ=typ, iat=int(time.time()) + 600)),
    "for the other purpose": lambda me, typ: sign(claims(me, typ=OTHER[typ])),
    "for some purpose": lambda me, _: sign(claims(me, typ="something")),
    "for no purpose": lambda me, _: sign(claims(me, typ=None)),
    "without an end": lambda me, typ: sign(claims(me, typ=typ, exp=None)),
    "of nobody": lambda me, typ: sign(claims(me, typ=typ, sub=None)),
    "without version": lambda me, typ: sign(claims(me, typ=typ, ver=None)),
    "an earlier version": lambda me, typ: sign(claims(me, typ=typ, ver=-1)),
    "a later version": lambda me, typ: sign(claims(me, typ=typ, ver=1)),
    "wrong secret": lambda me, typ: sign(claims(me, typ=typ), SECRET[:-1] + "!"),
    "another secret": lambda me, typ: sign(claims(me, typ=typ), "0" * 64),
    "another algorithm": lambda me, typ: sign(claims(me, typ=typ), algorithm="HS512"),
    "not signed": lambda me, typ: jwt.encode(claims(me, typ=typ), None, "none"),
    "signature left out": lambda me, typ: sign(claims(me, typ=typ)).rpartition(".")[0] + ".",
    "signature cut off": lambda me, typ: sign(claims(me, typ=typ)).rpartition(".")[0],
    "one more part": lambda me, typ: sign(claims(me, typ=typ)) + ".x",
    "padded": lambda me, typ: sign(claims(me, typ=typ)) + "=",
    "followed by more": lambda me, typ: sign(claims(me, typ=typ)) + "!",
    "other header": lambda me, typ: ".".join(
        [segment(b'{"alg":"none","typ":"JWT"}'), *sign(claims(me, typ=typ)).split(".")[1:]]
    ),
    "a user that is not there": lambda _, typ: sign(claims(2**31 - 1, typ=typ)),
    "out of range": lambda _, typ: sign(claims(2**31, typ=typ)),
    "far out of range": lambda _, typ: sign(claims(2**80, typ=typ)),
    "user zero": lambda _, typ: sign(claims(0, typ=typ)),
    "no number": lambda _, typ: sign(claims("me", typ=typ)),
    "end is no number": lambda me, typ: sign(claims(me, typ=typ, exp="soon")),
    "version is no number": lambda me, typ: sign(claims(me, typ=typ, ver="x")),
    "version is a list": lambda me, typ: sign(claims(me, typ=typ, ver=[0])),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_ones(client: Client, kind: str) -> None:
    assert status(client, f"Bearer {BAD[kind](client.user().id, 'access')}") == 401


def test_no_character_can_be_changed(client: Client) -> None:
    good = client.user().headers["authorization"].removeprefix("Bearer ")
    for position, character in enumerate(good):
        for other in "AB.!"[: 4 if position > len(good) - 3 else 2]:
            if other != character:
                changed = good[:position] + other + good[position + 1 :]
                assert status(client, f"Bearer {changed}") == 401, position


@pytest.mark.parametrize(
    "header",
    [
        {"alg": []}, {"alg": {}}, {"alg": None}, {"alg": 5}, {"alg": "HS256", "kid": 5}, [], 5,
        {"alg": "HS256", "crit": ["x"]}, {"alg": "HS256", "b64": False}, {"alg": "RS256"}, {}, None,
    ],
)  # fmt: skip
def test_odd_headers(client: Client, header: Any) -> None:
    token = f"{segment(json.dumps(header).encode())}.{segment(b'{}')}.{segment(b'x' * 32)}"
    assert status(client, f"Bearer {token}") == 401


@pytest.mark.parametrize(
    "authorization",
    [
        b"", b" ", b"Bearer", b"Bearer ", b"Bearer x", b"Bearer a.b.c", b"Bearer ..", b"BearerX",
        b"bearer null", b"Basic dXNlcjpwYXNz", b"Digest x", b"Token x", b"\xff", b"Bearer \xff\xfe",
        b"Bearer " + b"x" * 30_000, b"Bearer " + segment(b"[" * 20_000).encode() + b".e30.x",
        b"Bearer " + segment(b'{"a":' * 5_000).encode() + b".e30.x", b"Bearer a.b.c, Bearer d.e.f",
    ],
)  # fmt: skip
def test_what_is_no_token(client: Client, authorization: bytes) -> None:
    answer = wire.get(client.root, b"/api/v1/users/me", b"Authorization: " + authorization)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["status"] == 401


def test_the_schemes_case_and_spaces_do_not_count(client: Client) -> None:
    token = client.user().headers["authorization"].removeprefix("Bearer ")
    for authorization in (f"bearer {token}", f"BEARER {token}", f"Bearer   {token}"):
        for _ in range(2):
            assert status(client, authorization) == 200


def test_a_token_without_its_scheme(client: Client) -> None:
    token = client.user().headers["authorization"].removeprefix("Bearer ")
    for authorization in (token, f"Basic {token}", f"Bearer{token}", f"Bearer {token} x"):
        assert status(client, authorization) == 401


def test_a_token_that_was_used_expires_nevertheless(client: Client) -> None:
    # Clocks may differ by 5 s, so it has some left.
    token = sign(claims(client.user().id, exp=int(time.time()) - 2))
    seen = set()

    def refused() -> bool:
        seen.add(status(client, f"Bearer {token}"))
        return 401 in seen

    wait_until(refused, "the token did not expire")
    assert seen == {200, 401}


@pytest.mark.parametrize(("name", "ahead_s"), [("iat", 4), ("nbf", 4), ("exp", -3)])
def test_clocks_may_differ(client: Client, name: str, ahead_s: int) -> None:
    """The machine that signed was ahead of the one that looks, or behind it."""
    said = {name: int(time.time()) + ahead_s}
    me = client.user().id
    token = sign(claims(me, **said))
    for _ in range(2):  # the second time it is remembered
        assert status(client, f"Bearer {token}") == 200
    refresh = sign(claims(me, typ="refresh", **said))
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    assert client.post("/login", data=form).status_code == 200


def test_refresh(client: Client) -> None:
    me = client.user()
    pair = client.login(me.username).json()
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    renewed = client.post("/login", data=form)
    assert renewed.status_code == 200
    mine = Client(client.root, renewed.json()["access_token"]).get("/users/me")
    assert mine.json()["id"] == me.id
    form["refresh_token"] = renewed.json()["refresh_token"]
    assert client.post("/login", data=form).status_code == 200


def test_a_token_is_good_for_one_thing(client: Client) -> None:
    pair = client.login(client.user().username).json()
    assert status(client, f"Bearer {pair['refresh_token']}") == 401
    form = {"grant_type": "refresh_token", "refresh_token": pair["access_token"]}
    assert client.post("/login", data=form).status_code == 401


@pytest.mark.parametrize("kind", BAD)
def test_refresh_tokens_are_looked_at_as_closely(client: Client, kind: str) -> None:
    me = client.user().id
    good = {"grant_type": "refresh_token", "refresh_token": sign(claims(me, typ="refresh"))}
    assert client.post("/login", data=good).status_code == 200
    answer = client.post("/login", data=good | {"refresh_token": BAD[kind](me, "refresh")})
    assert answer.status_code == 401


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "x" * 4096])
def test_what_is_no_refresh_token(client: Client, token: str) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert client.post("/login", data=form).status_code == 401


def everywhere(api: Api, authorization: str, status: int) -> bool:
    """Whether every process answers so: a new connection may be to any of them."""
    return all(
        wire.get(api.url, b"/api/v1/users/me", f"Authorization: {authorization}".encode()).status
        == status
        for _ in range(20)
    )


def test_every_process_hears_of_a_new_password(several: Api) -> None:
    with Client(several.url) as client:
        me = client.user()
        authorization = me.headers["authorization"]
        assert everywhere(several, authorization, 200)
        change = {"old_password": PASSWORD, "new_password": PASSWORD[::-1]}
        assert me.post("/users/me/password", json=change).status_code == 204
        wait_until(lambda: everywhere(several, authorization, 401), "the token is still good", 60)
        token = client.token(me.username, PASSWORD[::-1])
        assert everywhere(several, f"Bearer {token}", 200)


def test_every_process_hears_that_a_user_was_disabled(several: Api) -> None:
    with Client(several.url) as client:
        boss, me = superuser(several), client.user()
        authorization = me.headers["authorization"]
        assert everywhere(several, authorization, 200)
        for disabled, status in ((True, 401), (False, 200)):
            answer = boss.patch(f"/users/{me.id}", json={"disabled": disabled})
            assert answer.status_code == 200
            wait_until(lambda s=status: everywhere(several, authorization, s), "no change", 60)  # type: ignore[misc]
