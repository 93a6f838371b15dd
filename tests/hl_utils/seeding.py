"""What the tests of seeding share: the command, and a look into the database."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from hl_utils.servers.sql import rows, value
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings
from tests import zygote

ROOT = Path(__file__).resolve().parents[2]
USERS = 2000
TABLES = ('"user"', "friend", "friendcount", "post", "dialog", "message")
PROFILES_ONLY = ("--friends", 0, "--posts", 0, "--dialogs", 0)


def command(*arguments: object, program: tuple[str, ...] = ("-m", "hl_utils", "seed")) -> list[str]:
    """Its words; `program` as the interpreter takes it."""
    return [sys.executable, *program, *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """Without the settings of whoever runs the tests."""
    return {"PATH": os.environ["PATH"], "HLFAST_HOME": "/nowhere", **variables}


def seed(url: str, *arguments: object, users: int = USERS, **variables: str) -> str:
    """What `hlfast seed` prints."""
    words = ("--users", users, "--database-url", url, *arguments)
    done = zygote.run("seed", *map(str, words), env=environment(**variables))
    assert done.returncode == 0, done.stderr
    return done.stdout


def count(url: str, table: str) -> int:
    """The number of rows."""
    return int(value(url, f"SELECT count(*) FROM {table}"))


def digests(url: str) -> dict[str, str]:
    """Of all the columns of all the rows."""
    found = {table: rows(url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}
    return {table: sha256(repr(lines).encode()).hexdigest() for table, lines in found.items()}


def with_service(url: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use` returns of the database as the service opens it."""

    async def run() -> Any:
        database = await open_database(
            url, [queries.MAIN, queries.DIALOGS], Settings(database_pool_size=2)
        )
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())


async def register(database: Any, name: str) -> int:
    """The id of a new user."""
    row = await database.fetch_row(
        "user_create", name, name, "hash", "A", "B", "a", "b", None, None, None, None
    )
    assert row is not None
    return int(row["id"])


async def post(database: Any, author_id: int) -> int:
    """The id of a new post."""
    row = await database.fetch_row("post_create", author_id, "hello", "public", None, None)
    return int(row["id"])
