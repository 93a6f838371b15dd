"""Bearer tokens: issue, verify, remember, revoke."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.utils import base64url_decode, base64url_encode

from hlfast.bounded import Bounded
from hlfast.errors import NotFound, Unauthenticated
from hlfast.settings import SECRET_BYTES_MIN, Settings, SettingsError
from hlfast.web.fields import USER_ID_MAX, parse_id

_ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a token is held against."""

    token_version: int
    disabled: bool
    is_superuser: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says. `expires_at` in seconds since 1970."""

    user_id: int
    token_version: int
    expires_at: float


class Tokens:
    """Signs and verifies. An access token opens nothing but the API, a refresh token only login."""

    def __init__(self, settings: Settings) -> None:
        if len(settings.secret.encode()) < SECRET_BYTES_MIN:
            raise SettingsError(f"HLFAST_SECRET must have {SECRET_BYTES_MIN} bytes or more")
        self._secret = settings.secret
        self._life_s = {"access": settings.access_token_s, "refresh": settings.refresh_token_s}

    def issue(self, user_id: int, token_version: int) -> dict[str, Any]:
        """The answer of `/login`."""
        return {
            "access_token": self.sign("access", user_id, token_version),
            "refresh_token": self.sign("refresh", user_id, token_version),
            "token_type": "bearer",
            "expires_in": self._life_s["access"],
        }

    def sign(self, kind: str, user_id: int, token_version: int) -> str:
        """A token of kind `access` or `refresh`."""
        now = int(time.time())
        claims = {
            "sub": str(user_id),
            "ver": token_version,
            "typ": kind,
            "iat": now,
            "exp": now + self._life_s[kind],
        }
        return jwt.encode(claims, self._secret, _ALGORITHM)

    def verify(self, kind: str, token: str | bytes) -> Claims:
        """The claims. Raises errors.Unauthenticated for any token that is not good."""
        try:
            claims = jwt.decode(
                token, self._secret, [_ALGORITHM], options={"require": ["exp", "sub", "ver", "typ"]}
            )
            if claims["typ"] != kind:
                raise Unauthenticated("This token is for something else.")
            if not _is_canonical(token):
                raise Unauthenticated("The token is not valid.")
            return Claims(
                parse_id(claims["sub"], USER_ID_MAX), int(claims["ver"]), float(claims["exp"])
            )
        except (jwt.PyJWTError, NotFound, ValueError, TypeError):
            raise Unauthenticated("The token is not valid.") from None


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
            raise Unauthenticated("The token has expired.")
        await self.check(claims)
        return claims.user_id

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
            raise Unauthenticated("The token has been revoked.")
        return standing

    def forget(self, user_id: int) -> None:
        """Look this user up again at once: something about them changed here."""
        self._standings.pop(user_id)
