"""The User as every feature shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from hlfast import codec
from hlfast.db.database import Database, Row
from hlfast.web.fields import CalendarDate


class User(BaseModel):
    """A user as others see them."""

    id: int
    username: str
    first_name: str
    last_name: str
    birthdate: CalendarDate | None
    bio: str | None
    city: str | None
    country: str | None


FIELDS = tuple(User.model_fields)


def show(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of any `user_…` statement as Users; the columns after them are not shown."""
    return codec.rows(FIELDS, rows)


async def by_ids(database: Database, ids: Sequence[int]) -> Mapping[int, Row]:
    """Users by id, of those that there are: what a BatchReader reads."""
    return {row["id"]: row for row in await database.fetch("user_by_ids", ids)}
