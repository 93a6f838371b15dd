"""Refresh tokens are good once, and a session ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import jwt
import pytest

from hl_utils.servers.services import SECRET, Api
from hl_utils.servers.sql import rows, value
from hlfast.auth.sessions import Sessions
from hlfast.auth.tokens import Tokens
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings
from tests.clients import PASSWORD, Client

# Beyond the contract's grace.
LATER_S = 11


def renew(client: Client, token: str) -> tuple[int, str]:
    """The status, and the refresh token that follows."""
    form = {"grant_type": "refresh_token", "refresh_token": token}
    answer = client.post("/login", data=form)
    if answer.status_code != 200:
        return answer.status_code, ""
    pair = answer.json()
    assert Client(client.root, pair["access_token"]).get("/users/me").status_code == 200
    return 200, pair["refresh_token"]


def logout(client: Client, token: str) -> int:
    """The status."""
    return client.post("/logout", data={"refresh_token": token}).status_code


def first_of(client: Client) -> str:
    """The refresh token of a new session of a new user."""
    return str(client.login(client.user().username).json()["refresh_token"])


def inherited(client: Client, **changes: Any) -> str:
    """One as it was before there were sessions."""
    now = int(time.time())
    claims = {"sub": str(client.user().id), "ver": 0, "typ": "refresh", "iat": now}
    return jwt.encode(claims | {"exp": now + 600} | changes, SECRET, "HS256")


def begin(client: Client, kind: str) -> str:
    """A refresh token of either kind."""
    return first_of(client) if kind == "new" else inherited(client)


KINDS = pytest.mark.parametrize("kind", ["new", "inherited"])


@contextmanager
def later(api: Api, token: str) -> Iterator[None]:
    """As if the session's tokens had been used longer ago."""
    url = api.settings["DATABASE_URL"]
    me = int(jwt.decode(token, SECRET, ["HS256"])["sub"])
    if queries.dialect_of(url) == "postgres":
        rows(
            url,
            "UPDATE session SET uses_ms = ARRAY(SELECT u - $1::bigint FROM"
            " unnest(uses_ms) WITH ORDINALITY AS t (u, n) ORDER BY n) WHERE user_id = $2",
            LATER_S * 1000,
            me,
        )
    else:
        # Of one use.
        rows(
            url,
            "UPDATE session SET uses_ms = uses_ms - $1 WHERE user_id = $2 AND uses_ms <> ''",
            LATER_S * 1000,
            me,
        )
    yield


@KINDS
def test_a_chain_of_them(client: Client, kind: str) -> None:
    token, seen = begin(client, kind), set()
    for _ in range(40):
        seen.add(token)
        status, token = renew(client, token)
        assert status == 200
    assert len(seen | {token}) == 41


@KINDS
def test_the_same_again_gets_the_same(client: Client, kind: str) -> None:
    """A lost answer, a second tab, and a tab that slept while the other one went on."""
    first = begin(client, kind)
    chain = [first]
    for _ in range(5):
        chain.append(renew(client, chain[-1])[1])
    for token, following in pairwise(chain):
        assert renew(client, token) == (200, following)
    assert renew(client, chain[-1])[0] == 200


@KINDS
def test_later_it_ends_the_session(client: Client, api: Api, kind: str) -> None:
    first = begin(client, kind)
    _, second = renew(client, first)
    with later(api, first):
        assert renew(client, first)[0] == 401
    # Whoever has the newest one may be the thief.
    assert renew(client, second)[0] == 401
    assert renew(client, first)[0] == 401


@KINDS
def test_the_newest_one_is_good_for_long(client: Client, api: Api, kind: str) -> None:
    first = begin(client, kind)
    _, second = renew(client, first)
    with later(api, first):
        status, third = renew(client, second)
    assert status == 200
    assert renew(client, first)[0] == 401
    assert renew(client, third)[0] == 401


@KINDS
@pytest.mark.parametrize("renewals", [0, 1, 3])
def test_logout(client: Client, kind: str, renewals: int) -> None:
    first = newest = begin(client, kind)
    for _ in range(renewals):
        newest = renew(client, newest)[1]
    for _ in range(2):
        assert logout(client, newest) == 204
        for token in (first, newest):
            assert renew(client, token)[0] == 401


def test_any_token_of_a_session_ends_it(client: Client) -> None:
    first = first_of(client)
    _, second = renew(client, first)
    assert logout(client, first) == 204
    assert renew(client, second)[0] == 401


def test_other_sessions_go_on(client: Client) -> None:
    me = client.user()
    one, other = (client.login(me.username).json()["refresh_token"] for _ in range(2))
    assert logout(client, one) == 204
    assert renew(client, other)[0] == 200
    assert me.get("/users/me").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "x" * 4096])
def test_what_is_no_token_is_over(client: Client, token: str) -> None:
    assert logout(client, token) == 204


def test_what_is_no_logout(client: Client) -> None:
    pair = client.login(client.user().username).json()
    refused = client.post("/logout", data={"refresh_token": pair["access_token"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "refresh_token"]
    assert client.post("/logout", data={}).status_code == 422
    assert client.post("/logout", json={"refresh_token": pair["refresh_token"]}).status_code == 415
    assert client.get("/logout").status_code == 405
    assert renew(client, pair["refresh_token"])[0] == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"sid": "x"}, {"gen": 0}, {"sid": "x", "gen": "0"}, {"sid": 5, "gen": 0},
        {"sid": "x", "gen": -1}, {"sid": "x", "gen": True}, {"sid": "x", "gen": 2**31},
        {"sid": "x" * 65, "gen": 0}, {"sid": "", "gen": 0}, {"sid": "é", "gen": 0},
        {"sid": "x\0", "gen": 0}, {"sid": ["x"], "gen": 0}, {"sid": "nobody's", "gen": 0},
    ],
)  # fmt: skip
def test_odd_claims(client: Client, claims: dict[str, Any]) -> None:
    assert renew(client, inherited(client, **claims))[0] == 401


def test_somebody_elses_session(client: Client) -> None:
    theirs = jwt.decode(first_of(client), SECRET, ["HS256"])
    forged = inherited(client, sid=theirs["sid"], gen=theirs["gen"])
    assert renew(client, forged)[0] == 401
    assert logout(client, forged) == 204
    good = jwt.encode(theirs, SECRET, "HS256")
    assert renew(client, good)[0] == 200


def test_what_the_database_keeps_is_no_token(client: Client, api: Api) -> None:
    token = renew(client, first_of(client))[1]
    claims = jwt.decode(token, SECRET, ["HS256"])
    kept = rows(api.settings["DATABASE_URL"], "SELECT * FROM session WHERE id = $1", claims["sid"])
    assert len(kept) == 1
    assert not any(part in repr(kept) for part in token.split("."))


def test_a_new_password_ends_them_all(client: Client) -> None:
    me = client.user()
    tokens = [client.login(me.username).json()["refresh_token"] for _ in range(2)]
    change = {"old_password": PASSWORD, "new_password": PASSWORD[::-1]}
    assert me.post("/users/me/password", json=change).status_code == 204
    assert [renew(client, token)[0] for token in tokens] == [401, 401]


def test_they_are_bounded_and_cleaned_up(migrated_database_url: str) -> None:
    """Of one user so many, and of what has expired nothing stays where people log in."""
    settings = Settings(secret=SECRET, sessions_max=3, database_pool_size=2)

    async def run() -> None:
        database = await open_database(migrated_database_url, [queries.MAIN], settings)
        try:
            sessions = Sessions(database, Tokens(settings), settings)
            for user in (1, 2):
                for _ in range(5):
                    await sessions.start(user, 0)
        finally:
            await database.close()

    def count() -> int:
        return int(value(migrated_database_url, "SELECT count(*) FROM session"))

    asyncio.run(run())
    assert count() == 6
    rows(migrated_database_url, "UPDATE session SET expires_at = '2020-01-01', user_id = 3")
    asyncio.run(run())
    assert count() == 6
