"""The status of the account behind a token, remembered for a while."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hlfast.auth.tokens import Claims, Tokens
from hlfast.bounded import Bounded
from hlfast.db.database import Database
from hlfast.errors import Unauthenticated
from hlfast.settings import Settings


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What a token is held against."""

    token_version: int
    disabled: bool
    is_superuser: bool


class Authenticator:
    """Who calls, from an Authorization header.

    A verified token is remembered until it expires; the user's status is looked up again when
    what is known of it is older than `revocation_check_s`. `look_up` returns None for an unknown
    user.
    """

    def __init__(
        self,
        tokens: Tokens,
        look_up: Callable[[int], Awaitable[AccountStatus | None]],
        settings: Settings,
    ) -> None:
        self._tokens = tokens
        self._look_up = look_up
        self._check_s = settings.revocation_check_s
        self._claims_max = settings.remembered_tokens_max
        self._claims: Bounded[bytes, Claims] = Bounded(self._claims_max)
        self._statuses: Bounded[int, tuple[AccountStatus, float]] = Bounded(
            settings.remembered_tokens_max
        )
        # Read directly by every request.
        self._claims_entries = self._claims.entries
        self._statuses_entries = self._statuses.entries
        self.remember_tokens(settings.tuning.remember_tokens)

    def remember_tokens(self, is_on: bool) -> None:
        """Keep verified tokens from now on, or none; those that were kept are forgotten."""
        self._claims.weight_max = self._claims_max if is_on else 0
        self._claims.clear()

    def known(self, authorization: bytes | None) -> int:
        """The caller's id if the token is remembered and its user's status fresh, else 0."""
        entry = self._claims_entries.get(authorization)  # type: ignore[arg-type]  # None is no key
        if entry is None or (claims := entry.value) is None or claims.expires_at <= time.time():
            return 0
        of_user = self._statuses_entries.get(claims.user_id)
        if of_user is None or (known := of_user.value) is None or known[1] <= time.monotonic():
            return 0
        entry.is_used = of_user.is_used = True
        status = known[0]
        good = status.token_version == claims.token_version and not status.disabled
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

    async def check(self, claims: Claims) -> AccountStatus:
        """Hold a token against its user's status. Raises errors.Unauthenticated."""
        known = self._statuses.get(claims.user_id)
        now = time.monotonic()
        if known is not None and known[1] > now and known[0].token_version == claims.token_version:
            status: AccountStatus | None = known[0]
        else:
            # Also when the versions differ: the token may be the newer one.
            status = await self._look_up(claims.user_id)
            if status is not None:
                self._statuses.put(claims.user_id, (status, now + self._check_s))
        if status is None or status.disabled or status.token_version != claims.token_version:
            raise Unauthenticated.revoked()
        return status

    def forget(self, user_id: int) -> None:
        """Look this user up again at once: something about them changed here."""
        self._statuses.pop(user_id)


async def account_statuses(database: Database, ids: Sequence[int]) -> dict[int, AccountStatus]:
    """The account status of each of these users that there is."""
    return {
        row["id"]: AccountStatus(row["token_version"], row["disabled"], row["is_superuser"])
        for row in await database.fetch("user_account_status", ids)
    }
