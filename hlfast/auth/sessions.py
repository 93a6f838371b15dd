"""Sessions: a login that can be renewed, until it ends."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from hlfast.auth.tokens import LEEWAY_S, Tokens
from hlfast.db.database import Database
from hlfast.errors import Invalid, Unauthenticated
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# A row outlives the last token of its session by more than clocks differ.
_KEPT_LONGER_S = 60.0
# Expired sessions that a new one takes with it.
_EXPIRED_MAX = 4
_OVER = "The session is over."


class Sessions:
    """Refresh tokens, each good once, in sessions that the main database keeps.

    The token that follows another one is made of what the database says of its first use, and
    signed: whoever comes with the same token within `refresh_grace_s`, to any process, is given
    the same one. Later than that it ends the session, because one of two who have it has stolen it.
    """

    def __init__(self, database: Database, tokens: Tokens, settings: Settings) -> None:
        self._database = database
        self._tokens = tokens
        self._grace_s = settings.refresh_grace_s
        self._keep_s = settings.refresh_token_s + LEEWAY_S + _KEPT_LONGER_S
        self._sessions_max = settings.sessions_max

    async def start(self, user_id: int, token_version: int) -> dict[str, Any]:
        """The answer of `/login`: a pair of tokens that begin a session."""
        session = secrets.token_urlsafe(16)
        await self._database.fetch_row(
            "session_start", session, user_id, self._keep_s, self._sessions_max, _EXPIRED_MAX
        )
        return self._tokens.pair(user_id, token_version, session, 0)

    async def renew(self, refresh_token: str) -> dict[str, Any]:
        """The pair that follows a refresh token. Raises errors.Unauthenticated."""
        claims = self._tokens.verify_refresh(refresh_token)
        row = await self._database.fetch_row(
            "session_renew",
            claims.session,
            claims.generation,
            claims.user_id,
            claims.token_version,
            claims.is_inherited,
            self._grace_s,
            self._keep_s,
        )
        assert row is not None  # it always says how it went  # noqa: S101
        if row["outcome"] == "reused":
            logger.warning("A refresh token was used again: its session is over")
        if row["outcome"] == "revoked":
            raise Unauthenticated.revoked()
        if row["outcome"] != "renewed":
            raise Unauthenticated(_OVER)
        return self._tokens.pair(
            claims.user_id,
            claims.token_version,
            claims.session,
            claims.generation + 1,
            row["used_ms"] // 1000,
        )

    async def end(self, refresh_token: str) -> None:
        """The session is over; one that was already, or never was, too (as RFC 7009 has it).

        Raises errors.Invalid for an access token, which ends nothing.
        """
        try:
            claims = self._tokens.verify_refresh(refresh_token)
        except Unauthenticated:
            if self._tokens.is_good("access", refresh_token):
                raise Invalid.field(
                    "body", "refresh_token", msg="This is an access token"
                ) from None
            return
        await self._database.fetch(
            "session_end", claims.session, claims.user_id, claims.is_inherited, self._keep_s
        )
