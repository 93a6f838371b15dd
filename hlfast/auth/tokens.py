"""Bearer tokens: issue, verify, remember, revoke."""

from __future__ import annotations

import binascii
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.utils import base64url_decode, base64url_encode

from hlfast import codec
from hlfast.errors import Malformed, NotFound, Unauthenticated
from hlfast.ids import USER_ID_MAX, parse_id
from hlfast.settings import SECRET_BYTES_MIN, Settings, SettingsError

_ALGORITHM = "HS256"
# How every token begins that is signed here, and what the times in it are.
_HEADER = base64url_encode(b'{"alg":"HS256","typ":"JWT"}') + b"."
_TIMES = ("iat", "exp")
_CLAIMS = {"sub", "ver", "typ", "sid", "gen", *_TIMES}
# Clocks of two machines may differ by so much: no token is refused for that.
LEEWAY_S = 5
# Ours are shorter and lower by far; a database need not hold more.
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GENERATION_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says.

    `expires_at` in seconds since 1970 by this machine's clock: later than the token itself has it,
    which was signed by another one.
    """

    user_id: int
    token_version: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """What a good refresh token says: the session, and the token's number in it.

    One of before there were sessions (`is_inherited`) is the first of a session of its own, named
    by itself.
    """

    user_id: int
    token_version: int
    session: str
    generation: int
    is_inherited: bool


class Tokens:
    """Signs and verifies. An access token opens nothing but the API, a refresh token only login."""

    def __init__(self, settings: Settings) -> None:
        if len(settings.secret.encode()) < SECRET_BYTES_MIN:
            raise SettingsError(f"HLFAST_SECRET must have {SECRET_BYTES_MIN} bytes or more")
        self._secret = settings.secret
        self._secret_bytes = settings.secret.encode()
        self._life_s = {"access": settings.access_token_s, "refresh": settings.refresh_token_s}

    def pair(
        self,
        user_id: int,
        token_version: int,
        session: str,
        generation: int,
        issued_at: int | None = None,
    ) -> dict[str, Any]:
        """An access and a refresh token, as `/login` answers with them.

        For the same arguments the refresh token is the same, whoever makes it. `issued_at`: when
        it was, in seconds since 1970; left out: now.
        """
        more = {"sid": session, "gen": generation}
        return {
            "access_token": self.sign("access", user_id, token_version),
            "refresh_token": self.sign("refresh", user_id, token_version, more, issued_at),
            "token_type": "bearer",
            "expires_in": self._life_s["access"],
        }

    def sign(
        self,
        kind: str,
        user_id: int,
        token_version: int,
        more: Mapping[str, Any] | None = None,
        issued_at: int | None = None,
    ) -> str:
        """A token of kind `access` or `refresh`, with more claims if need be."""
        if issued_at is None:
            issued_at = int(time.time())
        claims = {
            "sub": str(user_id),
            "ver": token_version,
            "typ": kind,
            **(more or {}),
            "iat": issued_at,
            "exp": issued_at + self._life_s[kind],
        }
        return jwt.encode(claims, self._secret, _ALGORITHM)

    def verify(self, kind: str, token: str | bytes) -> Claims:
        """The claims. Raises errors.Unauthenticated for any token that is not good."""
        return self._verify(kind, token)[0]

    def verify_refresh(self, token: str) -> RefreshClaims:
        """The claims of a refresh token. Raises errors.Unauthenticated."""
        known, claims = self._verify("refresh", token)
        session, generation = claims.get("sid"), claims.get("gen")
        if session is None and generation is None:
            name = hmac.digest(self._secret_bytes, b"session " + token.encode(), "sha256")
            session = base64url_encode(name[:16]).decode()
            return RefreshClaims(known.user_id, known.token_version, session, 0, True)
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            raise Unauthenticated.invalid()
        if type(generation) is not int or not 0 <= generation < _GENERATION_MAX:
            raise Unauthenticated.invalid()
        return RefreshClaims(known.user_id, known.token_version, session, generation, False)

    def is_good(self, kind: str, token: str) -> bool:
        """Whether `verify` would take it."""
        try:
            self.verify(kind, token)
        except Unauthenticated:
            return False
        return True

    def _verify(self, kind: str, token: str | bytes) -> tuple[Claims, dict[str, Any]]:
        """The claims that every token has, and all of them. Raises errors.Unauthenticated."""
        try:
            claims = self._own(token.encode() if isinstance(token, str) else token)
            if claims is None:
                claims = self._decode(token)
            if claims["typ"] != kind:
                raise Unauthenticated.invalid()
            user_id = parse_id(claims["sub"], USER_ID_MAX)
            expires_at = float(claims["exp"]) + LEEWAY_S
            return Claims(user_id, int(claims["ver"]), expires_at), claims
        except jwt.ExpiredSignatureError:
            raise Unauthenticated.expired() from None
        except (jwt.PyJWTError, NotFound, ValueError, TypeError):
            raise Unauthenticated.invalid() from None

    def _own(self, token: bytes) -> dict[str, Any] | None:
        """The claims of a good token that is just as `sign` makes them; None: PyJWT has to say.

        PyJWT takes ten times as long, and every user's first request waits for it.
        """
        signed, _, signature = token.rpartition(b".")
        if not signed.startswith(_HEADER):
            return None
        digest = hmac.digest(self._secret_bytes, signed, "sha256")
        if not hmac.compare_digest(base64url_encode(digest), signature):
            return None
        try:
            claims = codec.decode(base64url_decode(signed[len(_HEADER) :]))
        except (binascii.Error, Malformed):
            return None
        # What else may be claimed, PyJWT knows.
        if type(claims) is not dict or not claims.keys() <= _CLAIMS:
            return None
        issued_at, expires_at = map(claims.get, _TIMES)
        if type(issued_at) is not int or type(expires_at) is not int:
            return None
        now = time.time()
        if issued_at > now + LEEWAY_S or expires_at <= now - LEEWAY_S:
            return None
        is_whole = type(claims.get("sub")) is str and None not in claims.values()
        return claims if is_whole and "ver" in claims and "typ" in claims else None

    def _decode(self, token: str | bytes) -> dict[str, Any]:
        """The claims of any other token. Raises PyJWT's errors, errors.Unauthenticated."""
        claims: dict[str, Any] = jwt.decode(
            token,
            self._secret,
            [_ALGORITHM],
            leeway=LEEWAY_S,
            options={"require": ["exp", "sub", "ver", "typ"]},
        )
        if not _is_canonical(token):
            raise Unauthenticated.invalid()
        return claims


def _is_canonical(token: str | bytes) -> bool:
    """Whether the signature is written in its only right way.

    Decoding passes over what is no base64 and over spare bits, so without this every token had
    endless spellings: a changed one would be good, and each would be remembered for itself.
    """
    signature = (token.encode() if isinstance(token, str) else token).rpartition(b".")[2]
    return base64url_encode(base64url_decode(signature)) == signature
