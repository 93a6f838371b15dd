"""Bearer tokens: issue, verify, remember, revoke."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.utils import base64url_decode, base64url_encode

from hlfast.bounded import Bounded
from hlfast.errors import NotFound, Unauthenticated
from hlfast.settings import SECRET_BYTES_MIN, Settings, SettingsError
from hlfast.web.fields import USER_ID_MAX, parse_id

_ALGORITHM = "HS256"
# Clocks of two machines may differ by so much: no token is refused for that.
LEEWAY_S = 5
# Ours are shorter and lower by far; a database need not hold more.
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GENERATION_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What a token is held against."""

    token_version: int
    disabled: bool
    is_superuser: bool


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
        """The answer of `/login`.

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
            claims = jwt.decode(
                token,
                self._secret,
                [_ALGORITHM],
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub", "ver", "typ"]},
            )
            if claims["typ"] != kind:
                raise Unauthenticated.invalid()
            if not _is_canonical(token):
                raise Unauthenticated.invalid()
            user_id = parse_id(claims["sub"], USER_ID_MAX)
            expires_at = float(claims["exp"]) + LEEWAY_S
            return Claims(user_id, int(claims["ver"]), expires_at), claims
        except jwt.ExpiredSignatureError:
            raise Unauthenticated.expired() from None
        except (jwt.PyJWTError, NotFound, ValueError, TypeError):
            raise Unauthenticated.invalid() from None


def _is_canonical(token: str | bytes) -> bool:
    """Whether the signature is written in its only right way.

    Decoding passes over what is no base64 and over spare bits, so without this every token had
    endless spellings: a changed one would be good, and each would be remembered for itself.
    """
    signature = (token.encode() if isinstance(token, str) else token).rpartition(b".")[2]
    return base64url_encode(base64url_decode(signature)) == signature


class Authenticator:
    """Who calls, from an Authorization header.

    A verified token is remembered until it expires; the user's standing is looked up again when
    what is known of it is older than `revocation_check_s`. `look_up` returns None for an unknown
    user.
    """

    def __init__(
        self,
        tokens: Tokens,
        look_up: Callable[[int], Awaitable[Standing | None]],
        settings: Settings,
    ) -> None:
        self._tokens = tokens
        self._look_up = look_up
        self._check_s = settings.revocation_check_s
        claims_max = settings.remembered_tokens_max if settings.tuning.remember_tokens else 0
        self._claims: Bounded[bytes, Claims] = Bounded(claims_max)
        self._standings: Bounded[int, tuple[Standing, float]] = Bounded(
            settings.remembered_tokens_max
        )
        # Read directly by every request.
        self._claims_entries = self._claims.entries
        self._standings_entries = self._standings.entries

    def known(self, authorization: bytes | None) -> int:
        """The caller's id if the token is remembered and its user's standing fresh, else 0."""
        entry = self._claims_entries.get(authorization)  # type: ignore[arg-type]  # None is no key
        if entry is None or (claims := entry.value) is None or claims.expires_at <= time.time():
            return 0
        of_user = self._standings_entries.get(claims.user_id)
        if of_user is None or (known := of_user.value) is None or known[1] <= time.monotonic():
            return 0
        entry.is_used = of_user.is_used = True
        standing = known[0]
        good = standing.token_version == claims.token_version and not standing.disabled
        return claims.user_id if good else 0

    async def user_id(self, authorization: bytes | None) -> int:
        """The caller's id. Raises errors.Unauthenticated."""
        if authorization is None:
            raise Unauthenticated("A bearer token is needed.")
        claims = self._claims.get(authorization)
        if claims is None:
            scheme, _, token = authorization.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthenticated("A bearer token is needed.")
            claims = self._tokens.verify("access", token.lstrip())
            # Not with more spaces than one: there would be no end of such headers.
            if not token.startswith(b" "):
                self._claims.put(authorization, claims)
        elif claims.expires_at <= time.time():
            self._claims.pop(authorization)
            raise Unauthenticated.expired()
        await self.check(claims)
        return claims.user_id

    def token_version(self, authorization: bytes | None) -> int:
        """The version that a token bears, for statements that hold it against the user's row.

        Raises errors.Unauthenticated.
        """
        claims = self._claims.get(authorization or b"")
        if claims is None:
            token = (authorization or b"").partition(b" ")[2].lstrip()
            claims = self._tokens.verify("access", token)
        return claims.token_version

    async def check(self, claims: Claims) -> Standing:
        """Hold a token against its user's standing. Raises errors.Unauthenticated."""
        known = self._standings.get(claims.user_id)
        now = time.monotonic()
        if known is not None and known[1] > now and known[0].token_version == claims.token_version:
            standing: Standing | None = known[0]
        else:
            # Also when the versions differ: the token may be the newer one.
            standing = await self._look_up(claims.user_id)
            if standing is not None:
                self._standings.put(claims.user_id, (standing, now + self._check_s))
        if standing is None or standing.disabled or standing.token_version != claims.token_version:
            raise Unauthenticated.revoked()
        return standing

    def forget(self, user_id: int) -> None:
        """Look this user up again at once: something about them changed here."""
        self._standings.pop(user_id)
