"""Which database a URL means."""

from __future__ import annotations

from collections.abc import Sequence

from hlfast.db import mysql, postgres, queries
from hlfast.db.database import Database
from hlfast.settings import Settings


async def open_database(
    url: str, databases: Sequence[str], settings: Settings, *, wait_s: float = 0
) -> Database:
    """A pool that runs the statements of `databases`, in the dialect of the URL.

    For `wait_s` seconds a database that does not answer yet is asked again. Raises
    errors.Unavailable after that, SettingsError for a URL that is none.
    """
    if queries.dialect_of(url) == "mysql":
        return await mysql.open_database(url, databases, settings, wait_s=wait_s)
    return await postgres.open_database(url, databases, settings, wait_s=wait_s)
