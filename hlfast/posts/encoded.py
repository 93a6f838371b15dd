"""Posts as the JSON that is stored beside their columns, and pages that are put together from it.

A row has its JSON from whoever wrote it. One that has none is shown from its columns, and given its
JSON by whoever has met it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import NamedTuple

from hlfast import codec
from hlfast.batching import BatchLimits, BatchReader, BatchSender
from hlfast.db.database import Database, Row
from hlfast.errors import Unavailable
from hlfast.posts.schemas import show
from hlfast.web.fields import first

# What stands in a line instead of the JSON that a row does not have; no JSON holds one.
_NONE = b"\t"
# So many rows get their JSON in one statement, and of so many those that are older are forgotten:
# whoever meets them next remembers.
_BATCH_MAX = 100
_WAITING_MAX = 1000


# So many pages share a statement at most: a page can be megabytes.
_PAGES_MAX = 16

# The arguments of a page, but not which statement it is of.
_Asked = tuple[int, ...]


class Items(NamedTuple):
    """The posts of a page as a JSON list, and the id that leads on, None where nothing follows."""

    body: bytes
    cursor: int | None


NO_ITEMS = Items(b"[]", None)


class PageReader:
    """Reads pages as their lines. Concurrent ones share the statement of several within `limits`.

    What is asked is the arguments of a page, and one more than it shows says whether more follows.
    """

    def __init__(
        self,
        database: Database,
        limits: BatchLimits,
        statement: str,
        statement_of_several: str = "",
    ) -> None:
        self._database = database
        self._statement = statement
        self._statement_of_several = statement_of_several
        self._limits = limits
        self._reader = BatchReader(self._read_many, limits)

    async def get(self, asked: _Asked) -> Sequence[bytes]:
        """Its lines, each a post's id and what follows it in its JSON but the brace.

        They are never made text of: one that has an emoji in it would take four times the memory.
        """
        if self._limits.batch_max == 1:
            return await self._read_one(asked)
        return await self._reader.get(asked) or ()

    async def _read_one(self, asked: _Asked) -> Sequence[bytes]:
        return [line for (line,) in await self._database.fetch(self._statement, *asked)]

    async def _read_many(self, asked: Sequence[_Asked]) -> Mapping[_Asked, Sequence[bytes]]:
        found: dict[_Asked, Sequence[bytes]] = {}
        if len(asked) <= _PAGES_MAX:
            await self._read_few(asked, found)
            return found
        starts = range(0, len(asked), _PAGES_MAX)
        await asyncio.gather(*(self._read_few(asked[at : at + _PAGES_MAX], found) for at in starts))
        return found

    async def _read_few(
        self, asked: Sequence[_Asked], found: dict[_Asked, Sequence[bytes]]
    ) -> None:
        if len(asked) == 1:
            found[asked[0]] = await self._read_one(asked[0])
            return
        arguments = map(list, zip(*asked, strict=True))
        for number, lines in await self._database.fetch(self._statement_of_several, *arguments):
            found[asked[number - 1]] = lines.split(b"\n")


def from_lines(found: Sequence[bytes], limit: int) -> Items | None:
    """At most `limit` posts of lines, of which there may be one more; None if one has no JSON."""
    lines, more = first(found, limit)
    if not lines:
        return NO_ITEMS
    items = b'[{"id":%b}]' % b'},{"id":'.join(lines)
    if _NONE in items:
        return None
    return Items(items, int(lines[-1][: lines[-1].index(b",")]) if more else None)


def from_rows(found: Sequence[Row], limit: int) -> Items:
    """At most `limit` posts of rows with columns, of which there may be one more."""
    rows, more = first(found, limit)
    return Items(codec.encode(show(rows)), rows[-1]["id"] if more else None)


class Encoding:
    """Gives rows their JSON, some time soon. They get none if `on` is false."""

    def __init__(self, database: Database, *, on: bool) -> None:
        self.on = on
        self._database = database
        self._rows: BatchSender[Row] = BatchSender(
            self._encode, batch_max=_BATCH_MAX, waiting_max=_WAITING_MAX
        )

    def of(self, content: str | None) -> str | None:
        """A text as JSON for the statement that writes it, None if there is to be none."""
        return codec.encode(content).decode() if self.on and content is not None else None

    def put(self, rows: Sequence[Row]) -> None:
        """These have none, or some of them. Never waits and never fails."""
        if self.on:
            for row in rows:
                self._rows.put(row)

    async def close(self) -> None:
        """Wait for the rows under way. Those that wait are met again."""
        self.on = False
        await self._rows.close()

    async def _encode(self, rows: Sequence[Row]) -> None:
        if not self.on:
            return
        posts = []
        # In one order: nobody waits for who waits for them.
        rows = sorted(rows, key=itemgetter("id"))
        for row, body in zip(rows, map(codec.encode, show(rows)), strict=True):
            after_id = body[body.index(b",") : -1].decode()
            posts.append({"id": row["id"], "version": row["version"], "encoded": after_id})
        # They stay without it, and are met again.
        with suppress(Unavailable):
            await self._database.fetch("post_encode", codec.encode(posts).decode())
