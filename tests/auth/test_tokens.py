"""A token that is just as it is signed here is read without PyJWT, and as PyJWT reads it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from hl_utils.servers.services import SECRET
from hlfast.auth.tokens import LEEWAY_S, Tokens
from hlfast.errors import Unauthenticated
from hlfast.settings import Settings

HEADER = b'{"alg":"HS256","typ":"JWT"}'
NOW = int(time.time())
GOOD = {"sub": "7", "ver": 3, "typ": "access", "iat": NOW, "exp": NOW + 600}


def segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(payload: bytes, header: bytes = HEADER) -> bytes:
    """A token whose signature is right, whatever it says."""
    said = segment(header) + b"." + segment(payload)
    return said + b"." + segment(hmac.digest(SECRET.encode(), said, hashlib.sha256))


def said(**changes: Any) -> bytes:
    """The claims of a good token, changed; None takes one away."""
    claims = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return json.dumps(claims).encode()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Settings(secret=SECRET))


def outcome(tokens: Tokens, token: bytes) -> Any:
    """What `verify` returns or raises."""
    try:
        return tokens.verify("access", token)
    except Unauthenticated as error:
        return str(error)


PAYLOADS = {
    "good": said(),
    "one claim more": said(sid="x", gen=1),
    "a claim that nobody knows": said(jti="x"),
    "a claim that is wrong": said(jti=5),
    "for an audience": said(aud="somebody"),
    "not yet": said(nbf=NOW + 600),
    "from a future": said(iat=NOW + 600),
    "from a future, but not far": said(iat=NOW + LEEWAY_S - 2),
    "expired": said(exp=NOW - 600),
    "expired, but not long ago": said(exp=NOW - LEEWAY_S + 3),
    "times with fractions": said(iat=NOW - 0.5, exp=NOW + 60.5),
    "times as text": said(iat=str(NOW), exp=str(NOW + 60)),
    "times as truth": said(iat=True, exp=True),
    "no time of issue": said(iat=None),
    "no end": said(exp=None),
    "an end without an end": said()[:-1] + b',"exp":Infinity}',
    "no subject": said(sub=None),
    "a number as subject": said(sub=7),
    "no version": said(ver=None),
    "a version with a fraction": said(ver=3.0),
    "a version as text": said(ver="3"),
    "a version that is none": said()[:-1] + b',"ver":null}',
    "no purpose": said(typ=None),
    "another purpose": said(typ="refresh"),
    "a purpose that is a list": said(typ=["access"]),
    "a claim twice": said()[:-1] + b',"sub":"8"}',
    "spaces": b" " + said() + b" ",
    "a list": b"[]",
    "no JSON": b"{",
    "no UTF-8": said()[:-1] + b',"sid":"\xff"}',
    "a lone surrogate": said()[:-1] + b',"sid":"\\ud800"}',
    "UTF-16": said().decode().encode("utf-16"),
    "nothing": b"",
}
TOKENS = {name: signed(payload) for name, payload in PAYLOADS.items()} | {
    "another header": signed(said(), b'{"typ":"JWT","alg":"HS256"}'),
    "another algorithm": signed(said(), b'{"alg":"HS512","typ":"JWT"}'),
    "no algorithm": signed(said(), b'{"alg":"none","typ":"JWT"}'),
    "one part more": signed(said()) + b".x",
    "no signature": signed(said()).rpartition(b".")[0] + b".",
    "a padded signature": signed(said()) + b"=",
    "another signature": signed(said())[:-2] + b"AA",
    "no dot": signed(said()).replace(b".", b""),
    "not ASCII": signed(said()) + "é".encode(),
}


@pytest.mark.parametrize("form", TOKENS)
def test_a_token_is_read_as_by_pyjwt(
    tokens: Tokens, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = outcome(tokens, TOKENS[form])
    monkeypatch.setattr(tokens, "_own", lambda _: None)
    assert found == outcome(tokens, TOKENS[form])


def test_what_is_signed_here_needs_no_pyjwt(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = tokens.pair(7, 3, "session", 2)
    monkeypatch.delattr(jwt, "decode")
    for token in (pair["access_token"], pair["access_token"].encode()):
        claims = tokens.verify("access", token)
        assert (claims.user_id, claims.token_version) == (7, 3)
    refresh = tokens.verify_refresh(pair["refresh_token"])
    assert (refresh.session, refresh.generation) == ("session", 2)


def test_neither_is_a_token_of_the_wrong_kind_or_secret(tokens: Tokens) -> None:
    token = tokens.sign("refresh", 7, 3).encode()
    assert outcome(tokens, token) == str(Unauthenticated.invalid())
    other = Tokens(Settings(secret=SECRET[::-1]))
    assert outcome(tokens, other.sign("access", 7, 3).encode()) == str(Unauthenticated.invalid())
