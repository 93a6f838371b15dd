"""Plain SQL through asyncpg: what the rungs between the ORM and the service ask the database.

`LAB_METHODS` names the methods that are on. Read from the environment, too: DATABASE_URL,
HLFAST_DATABASE_POOL_SIZE, HLFAST_SECRET.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import jwt

from hlfast.codec import prefix_end, search_key
from hlfast.db import queries
from hlfast.dialogs.dialog_ids import dialog_id

METHODS = frozenset(os.environ.get("LAB_METHODS", "").split(","))
SECRET = os.environ["HLFAST_SECRET"]
POOL_SIZE = int(os.environ.get("HLFAST_DATABASE_POOL_SIZE", "8"))
ACCESS_TOKEN_S, REFRESH_TOKEN_S = 900, 30 * 86400
ID_MAX = 2**53 - 1
USER = ("id", "username", "first_name", "last_name", "birthdate", "bio", "city", "country")
POST = ("id", "author_id", "content", "privacy", "created_at", "updated_at")
_SEARCHES = Path(__file__).resolve().parents[2] / "peers" / "search.sql"
_WANTED = (
    "user_by_ids", "user_account_status", "user_credentials", "post_feed", "dialog_page_before",
    "dialog_send",
)  # fmt: skip
_ALL = queries.load("postgres", queries.MAIN) | queries.load("postgres", queries.DIALOGS)
STATEMENTS = {name: _ALL[name] for name in _WANTED} | queries.named(_SEARCHES)
_SETTINGS = {"timezone": "UTC", "jit": "off"}
# As the service has it: see hlfast/db/postgres.py.
_PLAN_ONCE = """
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET plan_cache_mode = force_generic_plan;
"""

Row = asyncpg.Record
Fetch = Callable[..., Awaitable[list[Row]]]
Connection = Callable[[], Any]


class Refused(Exception):
    """A request that gets an error: its status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@asynccontextmanager
async def opened() -> AsyncIterator[Connection]:
    """What gives a block its `fetch(statement, *arguments)`: by one connection, or any."""
    url = os.environ["DATABASE_URL"]
    if "prepared" in METHODS:
        async with _prepared(url) as fetch:
            yield _always(fetch)
        return
    pool = await asyncpg.create_pool(
        url, min_size=POOL_SIZE, max_size=POOL_SIZE, server_settings=_SETTINGS
    )

    async def from_pool(statement: str, *arguments: Any) -> list[Row]:
        return await pool.fetch(STATEMENTS[statement], *arguments)

    @asynccontextmanager
    async def one() -> AsyncIterator[Fetch]:
        async with pool.acquire() as connection:

            async def fetch(statement: str, *arguments: Any) -> list[Row]:
                return await connection.fetch(STATEMENTS[statement], *arguments)

            yield fetch

    try:
        yield _always(from_pool) if "pool" in METHODS else one
    finally:
        await pool.close()


def _always(fetch: Fetch) -> Connection:
    @asynccontextmanager
    async def one() -> AsyncIterator[Fetch]:
        yield fetch

    return one


@asynccontextmanager
async def _prepared(url: str) -> AsyncIterator[Fetch]:
    """Connections that have every statement prepared; nothing is reset between two uses."""
    free: asyncio.LifoQueue[dict[str, Any]] = asyncio.LifoQueue()
    connections = []
    for _ in range(POOL_SIZE):
        connection = await asyncpg.connect(url, server_settings=_SETTINGS)
        connections.append(connection)
        free.put_nowait({name: await connection.prepare(sql) for name, sql in STATEMENTS.items()})
        if "planned-once" in METHODS:
            await connection.execute(_PLAN_ONCE)

    async def fetch(statement: str, *arguments: Any) -> list[Row]:
        prepared = await free.get()
        try:
            return await prepared[statement].fetch(*arguments)
        finally:
            free.put_nowait(prepared)

    try:
        yield fetch
    finally:
        for connection in connections:
            connection.terminate()


async def caller(fetch: Fetch, token: str) -> int:
    """The id of the user whose token it is. Raises Refused."""
    try:
        claims = jwt.decode(token, SECRET, ["HS256"])
        me, version = int(claims["sub"]), claims["ver"]
    except (jwt.PyJWTError, KeyError, ValueError):
        raise Refused(401, "Invalid token") from None
    rows = await fetch("user_account_status", [me])
    if not rows or rows[0]["disabled"] or rows[0]["token_version"] != version:
        raise Refused(401, "Invalid token")
    return me


async def user(fetch: Fetch, user_id: int) -> dict[str, Any]:
    """A user. Raises Refused."""
    rows = await fetch("user_by_ids", [user_id])
    if not rows:
        raise Refused(404, "No such user")
    return shown(USER, rows[0])


async def search(
    fetch: Fetch, first_name: str, last_name: str, after: int, limit: int
) -> dict[str, Any]:
    """A page of users by the beginning of one name. Raises Refused."""
    if not (first_name or last_name):
        raise Refused(422, "One of the names must not be empty")
    key = search_key(first_name or last_name)
    statement = "user_search_first" if first_name else "user_search_last"
    rows = await fetch(statement, key, prefix_end(key), after, limit + 1)
    return page([shown(USER, row) for row in rows], limit)


async def feed(fetch: Fetch, me: int, limit: int) -> dict[str, Any]:
    """The newest posts of friends."""
    found = page(
        [shown(POST, row) for row in await fetch("post_feed", me, ID_MAX, limit + 1)], limit
    )
    if found["next"] is not None:
        found["next"] = f"{found['next']}-{limit}"
    return found


async def messages(fetch: Fetch, me: int, other: int, before: int, limit: int) -> dict[str, Any]:
    """The newest messages of a dialog. Raises Refused."""
    rows = await fetch("dialog_page_before", dialog_id(me, other), before, limit + 1)
    if not rows:
        await user(fetch, other)
    return page([message(row, me, other) for row in rows], limit)


async def send(
    fetch: Fetch, me: int, to: int, content: str, client_id: str | None
) -> tuple[dict[str, Any], bool]:
    """The message, and whether it is new. Raises Refused."""
    if me == to:
        raise Refused(422, "Nobody writes to themselves")
    arguments = (dialog_id(me, to), me, to, content, client_id)
    [row] = await fetch("dialog_send", *arguments, False)
    if row["outcome"] == "absent":
        await user(fetch, to)
        [row] = await fetch("dialog_send", *arguments, True)
    return message(row, me, to), row["outcome"] == "sent"


def shown(fields: tuple[str, ...], row: Row) -> dict[str, Any]:
    """A row without what is not for others."""
    return dict(zip(fields, row, strict=False))


def message(row: Row, me: int, other: int) -> dict[str, Any]:
    """A row of a message between these two."""
    author = row["from_user_id"]
    return {
        "id": row["id"],
        "from_user_id": author,
        "to_user_id": other if author == me else me,
        "content": row["content"],
        "client_id": row["client_id"],
        "created_at": row["created_at"],
        "read": row["read"],
    }


def page(items: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page from one item more than is shown, which says whether anything follows."""
    return {"items": items[:limit], "next": items[limit - 1]["id"] if len(items) > limit else None}
