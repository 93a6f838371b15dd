"""What a process under overload is asked, and what must have become of each message."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from bench import checks, scenarios
from bench.load import WrongAnswer
from bench.open_loop import Exchange
from bench.scenarios import MESSAGE, Read, Thread

# Shares of all requests.
MIX = {
    checks.USER: 0.40,
    checks.SEARCH: 0.15,
    checks.FEED: 0.15,
    checks.DIALOG: 0.19,
    checks.SEND: 0.10,
    "health": 0.01,
}


class Asked:
    """A read, or a look at the process's health."""

    def __init__(self, read: Any, kind: str) -> None:
        self.data, self.kind, self._read = read.data, kind, read

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        self._read.accept(status, body)

    def refused(self, _: bytes) -> None:
        """Raises WrongAnswer where health was refused."""
        if self.kind == "health":
            raise WrongAnswer("/health/live was refused")


class _Live:
    data = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def accept(self, status: int, body: bytes) -> None:
        if (status, body) != (200, b'{"status":"ok"}'):
            raise WrongAnswer(f"/health/live: {status} {body!r}")


@dataclass(slots=True)
class Ledger:
    """What became of each message, by client_id: acknowledged as (dialog, id, content)."""

    acknowledged: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    # Refused by admission control: nothing may have been done for them.
    shed: set[str] = field(default_factory=set)
    # 503 for want of the database: done or not.
    uncertain: set[str] = field(default_factory=set)


class Sent:
    """A message of a dialog that others are sent to at the same time."""

    __slots__ = ("_ledger", "_send", "_thread", "data")
    kind = checks.SEND

    def __init__(self, thread: Thread, client_id: str, ledger: Ledger) -> None:
        self._thread, self._ledger = thread, ledger
        self._send = scenarios.Send(thread, client_id)
        self.data = self._send.data

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer and note its id. Raises WrongAnswer."""
        send, thread = self._send, self._thread
        message = orjson.loads(body)
        if (
            status != 201
            or tuple(message) != MESSAGE
            or message["from_user_id"] != thread.from_user_id
            or message["to_user_id"] != thread.to_user_id
            or message["content"] != send.content
            or message["client_id"] != send.client_id
        ):
            raise WrongAnswer(f"{self.data!r}: {status} {body!r}")
        found = (thread.dialog_id, message["id"], send.content)
        self._ledger.acknowledged[send.client_id] = found

    def refused(self, body: bytes) -> None:
        """Note why the message was refused."""
        shed = b"Too many requests are in progress" in body
        (self._ledger.shed if shed else self._ledger.uncertain).add(self._send.client_id)


def mix(
    reads: dict[str, list[Read]], threads: Sequence[Thread], ledger: Ledger, chance: random.Random
) -> Iterator[Exchange]:
    """Requests of the mix, without end."""
    asked = {
        kind: itertools.cycle([Asked(read, kind) for read in found])
        for kind, found in {**reads, "health": [_Live()]}.items()
    }
    prefix = f"{time.time_ns():x}"
    written = itertools.cycle(threads)
    kinds = chance.choices([*MIX], [*MIX.values()], k=100_000)
    for number, kind in enumerate(itertools.cycle(kinds)):
        if kind == checks.SEND:
            yield Sent(next(written), f"{prefix}-{number}", ledger)
        else:
            yield next(asked[kind])


async def check_messages(database: asyncpg.Connection, ids: Sequence[int], ledger: Ledger) -> str:
    """What was acknowledged is there, what was shed is not, no dialog has a gap.

    Raises WrongAnswer.
    """
    rows = await database.fetch(
        "SELECT dialog_id, id, content, client_id FROM message WHERE dialog_id = ANY($1)", ids
    )
    stored = {row["client_id"]: (row["dialog_id"], row["id"], row["content"]) for row in rows}
    for client_id, message in ledger.acknowledged.items():
        if stored.get(client_id) != message:
            raise WrongAnswer(f"{message} was acknowledged, and {stored.get(client_id)} is there")
    if done := ledger.shed & stored.keys():
        raise WrongAnswer(f"{len(done)} messages were refused at the door, and are there")
    newest: dict[int, int] = {}
    for row in rows:
        newest[row["dialog_id"]] = newest.get(row["dialog_id"], 0) + 1
    dialogs = await database.fetch(
        "SELECT dialog_id, last_message_id FROM dialog WHERE dialog_id = ANY($1)", ids
    )
    if {row["dialog_id"]: row["last_message_id"] for row in dialogs} != newest:
        raise WrongAnswer("A dialog's last id is not the number of its messages")
    in_doubt = len(ledger.uncertain & stored.keys())
    return (
        f"Messages: {len(ledger.acknowledged):,} acknowledged, each is there; {len(ledger.shed):,} "
        f"refused at the door, none is there; {len(ledger.uncertain):,} answered with 503 because "
        f"the database was silent, of which {in_doubt:,} are there. No dialog has a gap."
    )
