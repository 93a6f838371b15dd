"""Logging in, as every rung below the service does it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import argon2
import jwt

from bench.lab.rungs.store import ACCESS_TOKEN_S, REFRESH_TOKEN_S, SECRET, Fetch, Refused

_PASSWORDS = argon2.PasswordHasher()


async def log_in(fetch: Fetch, username: str, password: str) -> dict[str, Any]:
    """A pair of tokens. Raises Refused."""
    rows = await fetch("user_credentials", username.lower())
    try:
        if not rows or rows[0]["disabled"]:
            raise Refused(401, "Wrong name or password")
        await asyncio.to_thread(_PASSWORDS.verify, rows[0]["password_hash"], password)
    except argon2.exceptions.VerificationError:
        raise Refused(401, "Wrong name or password") from None
    return {
        "access_token": _sign("access", rows[0], ACCESS_TOKEN_S),
        "refresh_token": _sign("refresh", rows[0], REFRESH_TOKEN_S),
        "token_type": "bearer",
        "expires_in": ACCESS_TOKEN_S,
    }


def _sign(kind: str, row: Any, life_s: int) -> str:
    now = int(time.time())
    claims = {"sub": str(row["id"]), "ver": row["token_version"], "typ": kind}
    return jwt.encode({**claims, "iat": now, "exp": now + life_s}, SECRET, "HS256")
