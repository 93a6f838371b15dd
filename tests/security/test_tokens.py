"""Tokens that nobody signed, in the forms that libraries have fallen for (ASVS 9.1, 9.2).

What is wrong with a token that was signed is in tests/web/test_auth.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from hl_utils.servers.services import SECRET
from tests import wire
from tests.clients import Client

pytestmark = pytest.mark.one_database

WRONG = b"what an attacker knows, and is long enough to be a key"


def segment(data: bytes) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(me: int, kind: str) -> bytes:
    """What a token would have to say to be let in."""
    now = int(time.time())
    said = {"sub": str(me), "ver": 0, "typ": kind, "iat": now, "exp": now + 600}
    return json.dumps(said).encode()


def forged(me: int, kind: str, header: bytes, key: bytes = WRONG) -> str:
    """A token with this header, signed with what an attacker has."""
    signed = f"{segment(header)}.{segment(claims(me, kind))}"
    return f"{signed}.{segment(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


PUBLIC_KEY = {"kty": "oct", "k": segment(WRONG)}
HEADERS: dict[str, Any] = {
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "NONE": {"alg": "NONE"},
    "nOnE": {"alg": "nOnE"},
    "empty": {"alg": ""},
    "no algorithm": {"typ": "JWT"},
    "null": {"alg": None},
    "a list": {"alg": ["HS256"]},
    "lower case": {"alg": "hs256"},
    "with a space": {"alg": "HS256 "},
    "RS256": {"alg": "RS256"},
    "ES256": {"alg": "ES256"},
    "PS256": {"alg": "PS256"},
    "EdDSA": {"alg": "EdDSA"},
    "HS256": {"alg": "HS256"},
    "HS384": {"alg": "HS384"},
    "dir": {"alg": "dir", "enc": "A256GCM"},
    "kid of a file": {"alg": "HS256", "kid": "../../../../dev/null"},
    "kid of a statement": {"alg": "HS256", "kid": "x' UNION SELECT 'key"},
    "kid of a command": {"alg": "HS256", "kid": "key|true"},
    "kid that is no text": {"alg": "HS256", "kid": {"a": 1}},
    "a key of its own": {"alg": "HS256", "jwk": PUBLIC_KEY},
    "where its key is": {"alg": "HS256", "jku": "http://127.0.0.1:1/jwks.json"},
    "where its certificate is": {"alg": "HS256", "x5u": "http://127.0.0.1:1/cert.pem"},
    "its certificate": {"alg": "HS256", "x5c": ["MIIB"]},
    "critical": {"alg": "HS256", "crit": ["exp"], "exp": 0},
    "not encoded": {"alg": "HS256", "b64": False, "crit": ["b64"]},
    "compressed": {"alg": "HS256", "zip": "DEF"},
    "another type": {"alg": "HS256", "typ": "JWE"},
    "nested": {"alg": "HS256", "cty": "JWT"},
    "for an access token": {"alg": "HS256", "typ": "at+jwt"},
}
RAW = {
    "duplicates, none last": b'{"alg":"HS256","alg":"none"}',
    "duplicates, none first": b'{"alg":"none","alg":"HS256"}',
    "escaped": b'{"\\u0061lg":"none"}',
    "not JSON": b"{alg:none}",
    "NaN": b'{"alg":"none","x":NaN}',
    "bytes": b"\xff\xfe",
}
FORMS = {name: json.dumps(header).encode() for name, header in HEADERS.items()} | RAW


def refused(client: Client, token: str, kind: str) -> bool:
    """Whether it is let in nowhere: as a bearer's, or to be renewed."""
    if kind == "access":
        header = f"Authorization: Bearer {token}".encode("latin-1", "replace")
        return wire.get(client.root, b"/api/v1/users/me", header).status == 401
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return client.post("/login", data=form).status_code == 401


@pytest.fixture(scope="module")
def kinds() -> list[str]:
    """What a token can be for."""
    return ["access", "refresh"]


@pytest.mark.parametrize("form", FORMS)
def test_a_forged_token(client: Client, kinds: list[str], form: str) -> None:
    me = client.user().id
    for kind in kinds:
        token = forged(me, kind, FORMS[form])
        head, body, _ = token.split(".")
        for one in (
            token,
            f"{head}.{body}.",
            f"{head}.{body}",
            f"{head}.{body}.{segment(bytes(64))}",
            forged(me, kind, FORMS[form], b""),
        ):
            assert refused(client, one, kind), one


def test_a_good_ones_parts_prove_nothing(client: Client, kinds: list[str]) -> None:
    """A signature is that of these bytes, and no others that mean the same or more."""
    me, other = client.user().id, client.user().id
    for kind in kinds:
        header = b'{"alg":"HS256","typ":"JWT"}'
        good = forged(me, kind, header, SECRET.encode())
        head, body, signature = good.split(".")
        said = json.loads(claims(me, kind))
        others = json.dumps(said | {"sub": str(other)}).encode()
        twice = claims(me, kind)[:-1] + b', "sub": "%d"}' % other
        for one in (
            f"{head}.{segment(others)}.{signature}",
            f"{head}.{segment(twice)}.{signature}",
            f"{head}.{body}=.{signature}",
            f"{head}.{body}A.{signature}",
            f"{head}={'.'}{body}.{signature}",
            f"{head}.{body}.{signature}=",
            f"{head}.{body}.{signature}.{signature}",
            f".{body}.{signature}",
            f"{head}..{signature}",
            f"{head}.{body}.{signature[::-1]}",
            json.dumps({"payload": body, "protected": head, "signature": signature}),
            json.dumps({"payload": body, "signatures": [{"protected": head}]}),
        ):
            assert refused(client, one, kind), one
        assert not refused(client, good, kind)
