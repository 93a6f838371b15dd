"""Superusers, who are made with a statement and never through the API."""

from __future__ import annotations

import asyncio
import secrets

from hl_utils.servers.services import Api
from hlfast.auth.passwords import hash_password
from hlfast.codec import search_key
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings
from tests.clients import PASSWORD, Client


def superuser(api: Api) -> Client:
    """A new one, logged in."""
    username = f"super-{secrets.token_hex(6)}"
    user_id = make_superuser(api, username)
    client = Client(api.url)
    somebody = Client(api.url, client.token(username))
    somebody.id, somebody.username = user_id, username
    return somebody


def make_superuser(api: Api, username: str) -> int:
    """Of a name, whoever has it, as `hlfast superuser --promote` does; the id."""
    settings = Settings(password_hash_memory_kib=256, password_hash_time=1, database_pool_size=1)
    names = ("Super", "User")
    fields = (
        username,
        username.lower(),
        hash_password(PASSWORD, settings),
        *names,
        *map(search_key, names),
        True,
    )
    return asyncio.run(_make(api.settings["DATABASE_URL"], fields, settings))


async def _make(url: str, fields: tuple[str | bool, ...], settings: Settings) -> int:
    database = await open_database(url, [queries.MAIN], settings)
    try:
        row = await database.fetch_row("user_make_superuser", *fields)
        assert row is not None
        return int(row["id"])
    finally:
        await database.close()
