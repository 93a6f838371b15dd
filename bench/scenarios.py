"""What is asked of a server, and what it must answer, by plain SQL of our own.

Nothing here uses the service's statements: the right answers are read from the tables as simply
as possible, or worked out in Python, so that a wrong statement can't confirm itself.
"""

from __future__ import annotations

import itertools
import json
import random
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

import asyncpg
import jwt
import orjson

from bench.load import WrongAnswer
from hl_utils.user_faker import PASSWORD
from hlfast.dialogs.dialog_ids import dialog_id

PAGE = 20
USER = ("id", "username", "first_name", "last_name", "birthdate", "bio", "city", "country")
POST = ("id", "author_id", "content", "privacy", "created_at", "updated_at")
MESSAGE = ("id", "from_user_id", "to_user_id", "content", "client_id", "created_at", "read")
_USER_COLUMNS = ", ".join(USER)


class Read:
    """A GET whose answer does not change. The first answer is taken apart, later ones compared."""

    __slots__ = ("body", "data", "expected", "path")

    def __init__(self, path: str, expected: Any, token: str | None = None) -> None:
        self.path = path
        self.data = request("GET", path, token)
        # In the order of the keys, which is part of what is checked.
        self.expected = json.dumps(expected)
        self.body: bytes | None = None

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        if body == self.body and status == 200:
            return
        if status != 200 or json.dumps(json.loads(body)) != self.expected:
            raise WrongAnswer(f"GET {self.path}: {status} {body!r}, expected {self.expected}")
        if self.body is not None:
            raise WrongAnswer(f"GET {self.path}: other bytes than before: {body!r}")
        self.body = body


@dataclass(slots=True)
class Thread:
    """One side of a dialog. `acknowledged`: the newest message id that was answered."""

    dialog_id: int
    from_user_id: int
    to_user_id: int
    token: str
    acknowledged: int = 0
    sent: int = 0


class Send:
    """A message that only this connection sends to its dialog: its id is known beforehand."""

    __slots__ = ("client_id", "content", "data", "thread")

    def __init__(self, thread: Thread, client_id: str) -> None:
        self.thread = thread
        self.client_id = client_id
        self.content = f"Well, this is {client_id}: no longer than most messages are."
        self.data = request(
            "POST",
            f"/dialogs/{thread.to_user_id}/messages",
            thread.token,
            orjson.dumps({"content": self.content, "client_id": client_id}),
        )

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        thread = self.thread
        message = orjson.loads(body)
        if (
            status != 201
            or tuple(message) != MESSAGE
            or message["id"] != thread.acknowledged + 1
            or message["from_user_id"] != thread.from_user_id
            or message["to_user_id"] != thread.to_user_id
            or message["content"] != self.content
            or message["client_id"] != self.client_id
            or message["read"] is not False
            or not message["created_at"].endswith("Z")
        ):
            raise WrongAnswer(f"{self.data!r}: {status} {body!r} after {thread}")
        thread.acknowledged += 1
        thread.sent += 1


class Login:
    """A right name and password, answered with a pair of tokens."""

    def __init__(self, username: str) -> None:
        form = urlencode({"username": username, "password": PASSWORD}).encode()
        self.data = request(
            "POST", "/login", body=form, content_type="application/x-www-form-urlencoded"
        )

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        if status != 200 or not json.loads(body)["access_token"]:
            raise WrongAnswer(f"{self.data!r}: {status} {body!r}")


def request(
    method: str,
    path: str,
    token: str | None = None,
    body: bytes = b"",
    content_type: str = "application/json",
) -> bytes:
    """A whole HTTP/1.1 request below /api/v1."""
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sign(user_id: int, secret: str, token_version: int = 0) -> str:
    """An access token that outlives every run."""
    now = int(time.time())
    claims = {"sub": str(user_id), "ver": token_version, "typ": "access"}
    return jwt.encode({**claims, "iat": now, "exp": now + 86400}, secret, "HS256")


def item(fields: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON shows it: dates as ISO 8601, times in UTC ending in Z."""
    shown: dict[str, Any] = {}
    for name in fields:
        value = row[name]
        if isinstance(value, datetime):
            value = value.isoformat().replace("+00:00", "Z")
        elif isinstance(value, date):
            value = value.isoformat()
        shown[name] = value
    return shown


def page(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A page of PAGE items: of one more that was found, the last id shown leads on."""
    shown = items[:PAGE]
    return {"items": shown, "next": shown[-1]["id"] if len(items) > PAGE else None}


async def user_by_id(database: asyncpg.Connection, count: int, chance: random.Random) -> list[Read]:
    """Any of the users, with equal chance."""
    ids = [row["id"] for row in await database.fetch('SELECT id FROM "user" ORDER BY id')]
    wanted = chance.sample(ids, min(count, len(ids)))
    rows = await database.fetch(
        f'SELECT {_USER_COLUMNS} FROM "user" WHERE id = ANY($1)',  # noqa: S608
        wanted,
    )
    return [Read(f"/users/{row['id']}", item(USER, row)) for row in rows]


def folded(name: str) -> str:
    """What a search compares, by the contract: NFKC and case folding."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


async def search(database: asyncpg.Connection, count: int, chance: random.Random) -> list[Read]:
    """Full pages for the first 1 to 4 letters of first or last names, as common as the names."""
    rows = await database.fetch(f'SELECT {_USER_COLUMNS} FROM "user" ORDER BY id')  # noqa: S608
    keys = [(folded(row["first_name"]), folded(row["last_name"])) for row in rows]
    reads: dict[str, Read] = {}
    tried: set[str] = set()
    for _ in range(count * 20):
        by_last = chance.random() < 0.5
        name = chance.choice(rows)["last_name" if by_last else "first_name"]
        prefix = name[: chance.randint(1, 4)]
        parameter = "last_name" if by_last else "first_name"
        path = "/users/search?" + urlencode({parameter: prefix})
        if path in tried:
            continue
        tried.add(path)
        wanted = folded(prefix)
        matching = (
            row for row, key in zip(rows, keys, strict=True) if key[by_last].startswith(wanted)
        )
        found = [item(USER, row) for row in itertools.islice(matching, PAGE + 1)]
        # Where nothing follows a full page, it depends on the server whether it says so.
        if len(found) > PAGE:
            reads[path] = Read(path, page(found))
        if len(reads) == count:
            break
    return list(reads.values())


async def feed(
    database: asyncpg.Connection,
    count: int,
    chance: random.Random,
    secret: str,
    among: Sequence[int] | None = None,
) -> list[Read]:
    """The newest page of users, of these or of all, who have one full."""
    users = await database.fetch(
        """SELECT id, token_version FROM "user"
           WHERE NOT disabled AND ($1::integer[] IS NULL OR id = ANY($1)) ORDER BY id""",
        among,
    )
    reads: list[Read] = []
    for user in chance.sample(users, len(users)):
        rows = await database.fetch(
            """SELECT p.* FROM friend f JOIN post p ON p.author_id = f.friend_id
               WHERE f.user_id = $1 AND f.state = 3 ORDER BY p.id DESC LIMIT $2""",
            user["id"],
            PAGE + 1,
        )
        if len(rows) > PAGE:
            token = sign(user["id"], secret, user["token_version"])
            shown = page([item(POST, row) for row in rows])
            # For processes that believe it, a feed's cursor says how far it has come.
            shown["next"] = f"{shown['next']}-{PAGE}"
            reads.append(Read("/feed", shown, token))
        if len(reads) == count:
            break
    return reads


async def dialog_page(
    database: asyncpg.Connection,
    count: int,
    chance: random.Random,
    secret: str,
    among: Sequence[int] | None = None,
) -> list[Read]:
    """The newest page, from either side, of these dialogs or of all that have one full."""
    dialogs = await database.fetch(
        """SELECT d.*, l.token_version AS low_version, h.token_version AS high_version
           FROM dialog d JOIN "user" l ON l.id = d.low_id JOIN "user" h ON h.id = d.high_id
           WHERE CASE WHEN $2::bigint[] IS NULL THEN d.last_message_id > $1
                      ELSE d.dialog_id = ANY($2) END
           ORDER BY d.dialog_id""",
        PAGE,
        among,
    )
    reads: list[Read] = []
    for dialog in chance.sample(dialogs, min(count, len(dialogs))):
        rows = await database.fetch(
            "SELECT * FROM message WHERE dialog_id = $1 ORDER BY id DESC LIMIT $2",
            dialog["dialog_id"],
            PAGE + 1,
        )
        me, other = chance.sample(("low", "high"), 2)
        messages = []
        for row in rows:
            by_low = row["from_user_id"] == dialog["low_id"]
            to_user_id, mark = ("high_id", "high_read") if by_low else ("low_id", "low_read")
            shown = {**row, "to_user_id": dialog[to_user_id], "read": row["id"] <= dialog[mark]}
            messages.append(item(MESSAGE, shown))
        token = sign(dialog[f"{me}_id"], secret, dialog[f"{me}_version"])
        path = f"/dialogs/{dialog[f'{other}_id']}/messages"
        reads.append(Read(path, page(messages), token))
    return reads


@dataclass(slots=True)
class Sends:
    """Dialogs, each written to by one connection only, from one of its sides."""

    threads: list[Thread]
    # New in every run and never twice in one: no message is taken for a repeated one.
    prefix: str = field(default_factory=lambda: f"{time.time_ns():x}")
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def sources(self, connections: int) -> list[Iterator[Send]]:
        """An endless one for each connection."""
        return [self._messages(self.threads[i::connections]) for i in range(connections)]

    def _messages(self, threads: Sequence[Thread]) -> Iterator[Send]:
        for thread in itertools.cycle(threads):
            yield Send(thread, f"{self.prefix}-{next(self._numbers)}")


async def sends(
    database: asyncpg.Connection, count: int, chance: random.Random, secret: str
) -> Sends:
    """Dialogs that have begun, but not long enough for `dialog_page`, or new ones."""
    users = await database.fetch(
        'SELECT id, token_version FROM "user" WHERE NOT disabled ORDER BY id'
    )
    taken = {
        row["dialog_id"]
        for row in await database.fetch(
            "SELECT dialog_id FROM dialog WHERE last_message_id >= $1", PAGE
        )
    }
    threads: dict[int, Thread] = {}
    while len(threads) < count:
        me, other = chance.sample(users, 2)
        dialog = dialog_id(me["id"], other["id"])
        if dialog not in taken:
            token = sign(me["id"], secret, me["token_version"])
            threads[dialog] = Thread(dialog, me["id"], other["id"], token)
    return Sends(list(threads.values()))
