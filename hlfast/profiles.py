"""The User as every feature shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel

from hlfast import codec
from hlfast.batching import BatchLimits, BatchReader
from hlfast.db.database import Database, Row
from hlfast.errors import NotFound
from hlfast.response_cache import ResponseCache
from hlfast.web.fields import CalendarDate, Listing, said


class User(BaseModel):
    """A user as others see them."""

    id: Annotated[int, said("Who it is.", 7)]
    username: Annotated[str, said("The name to log in with; no two have the same.", "mira")]
    first_name: Annotated[str, said("The given name.", "Mira")]
    last_name: Annotated[str, said("The family name.", "Okafor")]
    birthdate: Annotated[CalendarDate | None, said("The day of birth.", "1990-05-17")]
    bio: Annotated[str | None, said("About themselves.", "Bakes bread, reads maps.")]
    city: Annotated[str | None, said("Where they live.", "Lisbon")]
    country: Annotated[str | None, said("Of that city.", "Portugal")]


class UserListing(Listing[User, int]):
    """A page of users."""


FIELDS = tuple(User.model_fields)


def show(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of any `user_…` statement as Users; the columns after them are not shown."""
    return codec.rows(FIELDS, rows)


class Profile(NamedTuple):
    """A User as JSON, and the version of the row that it shows."""

    version: int
    body: bytes


def profile(row: Row) -> Profile:
    """The Profile of a row of a statement that ends in the version."""
    return Profile(row[len(FIELDS)], codec.encode(dict(zip(FIELDS, row, strict=False))))


class Profiles:
    """Users by id. Concurrent reads share one statement, and unchanged users come from the cache.

    The response cache's key of a user is the bare id: all its other keys are tuples.
    """

    def __init__(self, database: Database, cache: ResponseCache, limits: BatchLimits) -> None:
        self._database = database
        self._cache = cache
        self._reader = BatchReader(self._read_by_ids, limits)

    def get(self, user_id: int) -> asyncio.Future[Profile | None]:
        """The user, or None where there is none."""
        return self._reader.get(user_id)

    async def need(self, user_id: int) -> Profile:
        """The user. Raises errors.NotFound."""
        user = await self._reader.get(user_id)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def get_many(self, ids: Sequence[int]) -> list[Profile | None]:
        """One user, or None, for each id, in their order."""
        return await self._reader.get_many(ids)

    async def of_versions(self, found: Sequence[tuple[int, int]]) -> Mapping[int, Profile]:
        """Users by id, in the order of these ids and versions.

        A user who has changed since comes in a later version.
        """
        profiles: dict[int, Profile] = {}
        missing: list[int] = []
        for user_id, version in found:
            body = self._cache.get(user_id, version)
            if body is None:
                missing.append(user_id)
            else:
                profiles[user_id] = Profile(version, body)
        if not missing:
            return profiles
        profiles |= await self._read(missing)
        return {user_id: profiles[user_id] for user_id, _ in found if user_id in profiles}

    def put(self, user_id: int, changed: Profile) -> None:
        """Store what a user's own change has made in the response cache."""
        self._cache.put(user_id, *changed)

    async def _read_by_ids(self, ids: Sequence[int]) -> Mapping[int, Profile]:
        known = [user_id for user_id in ids if user_id in self._cache]
        if len(known) < len(ids):
            # All of them in one round trip, where some have to be read anyway.
            return await self._read(ids)
        rows = await self._database.fetch("user_versions", known)
        return await self.of_versions([(row[0], row[1]) for row in rows])

    async def _read(self, ids: Sequence[int]) -> dict[int, Profile]:
        found: dict[int, Profile] = {}
        for row in await self._database.fetch("user_by_ids", ids):
            one = found[row[0]] = profile(row)
            self._cache.put(row[0], *one)
        return found
