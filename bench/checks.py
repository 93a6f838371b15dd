"""What must hold beside the timing: every answer, the same bytes, every acknowledged message."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import urlencode

import asyncpg

from bench import load, scenarios
from bench.load import WrongAnswer
from bench.scenarios import Read, Send, Sends
from hl_utils.user_faker import PASSWORD

USER, SEARCH, FEED, DIALOG, SEND = (
    "user by id",
    "search",
    "feed page",
    "dialog page",
    "message send",
)
_FORM = "application/x-www-form-urlencoded"
SCENARIOS = (USER, SEARCH, FEED, DIALOG, SEND)


async def reads(
    database: asyncpg.Connection, count: int, chance: random.Random, secret: str
) -> dict[str, list[Read]]:
    """The requests of each scenario that reads, with their right answers."""
    found = {
        USER: await scenarios.user_by_id(database, count, chance),
        SEARCH: await scenarios.search(database, count, chance),
        FEED: await scenarios.feed(database, count, chance, secret),
        DIALOG: await scenarios.dialog_page(database, count, chance, secret),
    }
    for name, requests in found.items():
        if not requests:
            raise ValueError(f"The database has nothing for: {name}. Seed more.")
    return found


async def everything_once(
    database: Any, port: int, found: dict[str, list[Read]], sends: Sends
) -> None:
    """Every distinct request on one connection, and what must be refused. Raises WrongAnswer."""
    await load.exhaust(port, [iter([read for reads in found.values() for read in reads])])
    before = await dialogs(database, sends)
    for thread in sends.threads:
        send = Send(thread, f"{sends.prefix}-first")
        again = _Expected(send.data, 200)
        await load.exhaust(port, [iter([send])])
        await load.exhaust(port, [iter([again])])
        if (again.answer["id"], again.answer["content"]) != (thread.acknowledged, send.content):
            raise WrongAnswer(f"The same client_id gave another message: {again.answer}")
    await dialogs_after(database, sends, before)
    await _log_in(database, port)
    thread = sends.threads[0]
    nobody = 2**31 - 1
    body = b'{"content":"nobody hears this"}'
    refused = [
        (404, scenarios.request("GET", f"/users/{nobody}")),
        (404, scenarios.request("POST", f"/dialogs/{nobody}/messages", thread.token, body)),
        (401, scenarios.request("GET", "/feed")),
        (401, scenarios.request("GET", "/feed", thread.token[:-3] + "AAA")),
        (422, scenarios.request("GET", "/users/search?first_name=")),
    ]
    for status, data in refused:
        await load.exhaust(port, [iter([_Expected(data, status)])])


async def _log_in(database: Any, port: int) -> None:
    """A seeded user's password gives a token that opens the feed. Raises WrongAnswer."""
    username = await database.fetchval('SELECT username FROM "user" ORDER BY id LIMIT 1')
    form = urlencode({"username": username, "password": PASSWORD}).encode()
    login = _Expected(scenarios.request("POST", "/login", body=form, content_type=_FORM), 200)
    await load.exhaust(port, [iter([login])])
    if tuple(login.answer) != ("access_token", "refresh_token", "token_type", "expires_in"):
        raise WrongAnswer(f"Login answered {login.answer}")
    feed = scenarios.request("GET", "/feed", login.answer["access_token"])
    await load.exhaust(port, [iter([_Expected(feed, 200)])])


class _Expected:
    """A request of which the status is known."""

    def __init__(self, data: bytes, status: int) -> None:
        self.data = data
        self.answer: Any = None
        self._status = status

    def accept(self, status: int, body: bytes) -> None:
        if status != self._status:
            raise WrongAnswer(f"{self.data!r}: {status} {body!r}, expected {self._status}")
        self.answer = json.loads(body)


def same_bytes(ours: dict[str, list[Read]], peers: dict[str, list[Read]]) -> None:
    """Raises WrongAnswer where the two bodies of one request differ by a byte."""
    for name, found in ours.items():
        for one, other in zip(found, peers[name], strict=True):
            if one.path != other.path or one.body != other.body:
                raise WrongAnswer(f"{one.path}: {one.body!r} is not {other.body!r}")


async def dialogs(database: Any, sends: Sends) -> dict[int, dict[str, int]]:
    """The state of the dialogs written to, which the threads then go on from."""
    ids = ", ".join(str(thread.dialog_id) for thread in sends.threads)
    rows = await database.fetch(
        # Not the outbox's rows, but their count: they go as soon as they are published.
        f"""SELECT d.dialog_id, d.low_id, d.low_unread, d.high_unread, d.last_message_id,
                   d.last_event_id,
                   (SELECT count(*) FROM message m WHERE m.dialog_id = d.dialog_id)
                       AS messages,
                   (SELECT max(m.id) FROM message m WHERE m.dialog_id = d.dialog_id)
                       AS newest
            FROM dialog AS d WHERE d.dialog_id IN ({ids})"""  # noqa: S608
    )
    stored = {row["dialog_id"]: row for row in rows}
    found = {}
    for thread in sends.threads:
        state = dict.fromkeys(("messages", "events", "unread", "last_message_id", "newest"), 0)
        if row := stored.get(thread.dialog_id):
            to_low = thread.to_user_id == row["low_id"]
            state = {name: row[name] for name in ("messages", "last_message_id", "newest")}
            state["events"] = row["last_event_id"]
            state["unread"] = row["low_unread" if to_low else "high_unread"]
        found[thread.dialog_id] = state
        thread.acknowledged = state["last_message_id"]
        thread.sent = 0
    return found


async def dialogs_after(database: Any, sends: Sends, before: dict[int, dict[str, int]]) -> None:
    """Raises WrongAnswer unless each dialog has just what was acknowledged, without gaps."""
    counted = [(thread.sent, thread.acknowledged) for thread in sends.threads]
    after = await dialogs(database, sends)
    for thread, (sent, acknowledged) in zip(sends.threads, counted, strict=True):
        was, now = before[thread.dialog_id], after[thread.dialog_id]
        grown = [now[name] - was[name] for name in ("messages", "events", "unread")]
        if not (
            grown == [sent] * 3
            and now["last_message_id"] == now["newest"] == now["messages"] == acknowledged
        ):
            raise WrongAnswer(f"{sent} acknowledged up to {acknowledged}, but {was} became {now}")
