"""The User as every feature shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from hlfast import codec
from hlfast.bodies import Bodies
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


# A page of users: the statement that finds them, and its arguments.
Wanted = tuple[str, tuple[str | int, ...]]


class Profile(NamedTuple):
    """A User as JSON, and the version of the row that it shows."""

    version: int
    body: bytes


def profile(row: Row) -> Profile:
    """A row of a statement that ends in the version."""
    return Profile(row[len(FIELDS)], codec.encode(show([row])[0]))


async def by_ids(database: Database, bodies: Bodies, ids: Sequence[int]) -> Mapping[int, Profile]:
    """Users by id, of those that there are: what a BatchReader reads."""
    known = [user_id for user_id in ids if user_id in bodies]
    if len(known) < len(ids):
        # All of them in one round trip, where some have to be read anyway.
        return await _read(database, bodies, ids)
    rows = await database.fetch("user_versions", known)
    return await of_versions(database, bodies, [(row[0], row[1]) for row in rows])


async def of_versions(
    database: Database, bodies: Bodies, found: Sequence[tuple[int, int]]
) -> Mapping[int, Profile]:
    """Users by id, in the order of these ids and versions; of a later version if it has changed."""
    profiles: dict[int, Profile] = {}
    missing: list[int] = []
    for user_id, version in found:
        body = bodies.get(user_id, version)
        if body is None:
            missing.append(user_id)
        else:
            profiles[user_id] = Profile(version, body)
    if not missing:
        return profiles
    profiles |= await _read(database, bodies, missing)
    return {user_id: profiles[user_id] for user_id, _ in found if user_id in profiles}


async def _read(database: Database, bodies: Bodies, ids: Sequence[int]) -> dict[int, Profile]:
    found: dict[int, Profile] = {}
    for row in await database.fetch("user_by_ids", ids):
        one = found[row[0]] = profile(row)
        bodies.put(row[0], *one)
    return found
