"""Registration, login, profiles and search."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hlfast import codec, errors
from hlfast.auth.sessions import Sessions
from hlfast.bodies import Bodies
from hlfast.cache import FailureThrottle
from hlfast.codec import prefix_end, search_key
from hlfast.db.batching import BatchReader
from hlfast.db.database import Database, Row
from hlfast.passwords import Passwords
from hlfast.profiles import Profile, Wanted, of_versions, profile
from hlfast.users.schemas import Search, UserNew, UserPatch
from hlfast.web.auth import Authenticator, Standing
from hlfast.web.fields import USER_ID_MAX, first

_WRONG_PAIR = "The name or the password is wrong."


def username_key(username: str) -> str:
    """What makes a username unique: its case does not count."""
    return username.lower()


async def register(database: Database, passwords: Passwords, new: UserNew, *, address: str) -> Row:
    """The new user's row. Raises errors.Conflict when the name is taken."""
    key = username_key(new.username)
    # Asked first only to spare the hash; who wins is decided by the INSERT.
    if await database.fetch("user_credentials", key):
        raise errors.Conflict("This username is taken.")
    user = await database.fetch_row(
        "user_create",
        new.username,
        key,
        await passwords.hash(new.password, address),
        new.first_name,
        new.last_name,
        search_key(new.first_name),
        search_key(new.last_name),
        new.birthdate,
        new.bio,
        new.city,
        new.country,
    )
    if user is None:
        raise errors.Conflict("This username is taken.")
    return user


async def login(
    database: Database,
    passwords: Passwords,
    sessions: Sessions,
    failures: FailureThrottle,
    *,
    username: str,
    password: str,
    address: str,
) -> dict[str, Any]:
    """A pair of tokens, which begin a session.

    Raises errors.Unauthenticated for a wrong pair, errors.TooMany after repeated failures of the
    name from the address: of both, so that nobody locks out somebody else.
    """
    async with failures.attempt(f"{username_key(username)[:64]}@{address}"):
        user = await database.fetch_row("user_credentials", username_key(username))
        fits = await passwords.verify(user["password_hash"] if user else None, password, address)
        if user is None or not fits or user["disabled"]:
            raise errors.Unauthenticated(_WRONG_PAIR)
    stored = user["password_hash"]
    if passwords.is_outdated(stored):
        # It can wait for the next login.
        with suppress(errors.Unavailable):
            new = await passwords.hash(password, address)
            await database.fetch("user_rehash", user["id"], stored, new)
    return await sessions.start(user["id"], user["token_version"])


async def standing(database: Database, ids: Sequence[int]) -> dict[int, Standing]:
    """What tokens of these users are held against."""
    return {
        row["id"]: Standing(row["token_version"], row["disabled"], row["is_superuser"])
        for row in await database.fetch("user_standing", ids)
    }


async def get(users: BatchReader[int, Profile], user_id: int) -> Profile:
    """One user. Raises errors.NotFound."""
    user = await users.get(user_id)
    if user is None:
        raise errors.NotFound("There is no such user.")
    return user


async def several(users: BatchReader[int, Profile], ids: Sequence[int]) -> Sequence[Profile]:
    """Those of these users that there are, each once, in this order."""
    possible = [user_id for user_id in dict.fromkeys(ids) if user_id <= USER_ID_MAX]
    return [user for user in await users.get_many(possible) if user is not None]


async def change(
    database: Database,
    users: BatchReader[int, Profile],
    bodies: Bodies,
    user_id: int,
    patch: UserPatch,
) -> Profile:
    """The user after the change of their own profile."""
    given = patch.model_fields_set
    if not given:
        return await get(users, user_id)
    first_name = patch.first_name if "first_name" in given else None
    last_name = patch.last_name if "last_name" in given else None
    user = await database.fetch_row(
        "user_update",
        user_id,
        first_name,
        last_name,
        None if first_name is None else search_key(first_name),
        None if last_name is None else search_key(last_name),
        list(given),
        patch.birthdate,
        patch.bio,
        patch.city,
        patch.country,
    )
    if user is None:
        raise errors.NotFound("There is no such user.")
    changed = profile(user)
    bodies.put(user_id, *changed)
    return changed


async def change_password(
    database: Database,
    passwords: Passwords,
    authenticator: Authenticator,
    failures: FailureThrottle,
    user_id: int,
    *,
    old: str,
    new: str,
    address: str,
) -> None:
    """Revokes every token issued before.

    Raises errors.Forbidden for a wrong old password, errors.TooMany after repeated ones of the
    user from the address.
    """
    async with failures.attempt(f"{user_id}@{address}"):
        user = await database.fetch_row("user_credentials_by_id", user_id)
        stored = user["password_hash"] if user else None
        if not await passwords.verify(stored, old, address):
            raise errors.Forbidden("The old password is wrong.")
    changed = await database.fetch_row(
        "user_set_password", user_id, stored, await passwords.hash(new, address)
    )
    if changed is None:
        raise errors.Forbidden("The old password is wrong: it has just been changed.")
    authenticator.forget(user_id)


async def administer(
    database: Database,
    authenticator: Authenticator,
    me: int,
    token_version: int,
    user_id: int,
    *,
    disabled: bool | None,
) -> Row:
    """A superuser's change, with a token of a version; None stays.

    Raises errors.Forbidden for anybody else, Unauthenticated for a token from before, NotFound.
    """
    user = await database.fetch_row("user_set_disabled", user_id, disabled, me, token_version)
    if user is None:
        mine = (await standing(database, [me])).get(me)
        if mine is None or mine.disabled or mine.token_version != token_version:
            # What was known of them is of before.
            authenticator.forget(me)
            raise errors.Unauthenticated.revoked()
        if not mine.is_superuser:
            raise errors.Forbidden("Only a superuser may do this.")
        raise errors.NotFound("There is no such user.")
    authenticator.forget(user_id)
    return user


async def search(
    database: Database, searches: BatchReader[Wanted, str], bodies: Bodies, wanted: Search
) -> bytes:
    """The page of users whose names start so, by ascending id, as JSON."""
    key, limit = _wanted(wanted), wanted.limit
    while True:
        found = await searches.get(key) or ""
        page = bodies.get(key, found)
        if page is not None:
            return page
        # One more than is shown says whether anything follows.
        marks, more = first([_mark(one) for one in found.split(",")] if found else [], limit)
        read = await of_versions(database, bodies, marks)
        # Whoever has just changed may have another name now.
        if all(user_id in read and read[user_id].version == version for user_id, version in marks):
            last = marks[-1][0] if more else None
            page = codec.page_of([user.body for user in read.values()], last)
            bodies.put_again(key, found, page)
            return page


def _mark(text: str) -> tuple[int, int]:
    """`<id>:<version>`"""
    user_id, _, version = text.partition(":")
    return int(user_id), int(version)


def _wanted(search: Search) -> Wanted:
    """The statement that finds them, and its arguments."""
    by_first, last = search_key(search.first_name), search_key(search.last_name)
    page = (search.after, search.limit + 1)
    if not last:
        return "user_find_first", (by_first, prefix_end(by_first), *page)
    if not by_first:
        return "user_find_last", (last, prefix_end(last), *page)
    # The longer prefix is likely the rarer one: its range is the one to read.
    if len(by_first) > len(last):
        statement, lead, other = "user_find_first_then_last", by_first, last
    else:
        statement, lead, other = "user_find_last_then_first", last, by_first
    return statement, (lead, prefix_end(lead), *page, other, prefix_end(other))


async def find(database: Database, searches: Sequence[Wanted]) -> Mapping[Wanted, str]:
    """`<id>:<version>,…` of each page of users, by ascending id: what a BatchReader reads.

    The searches of one statement are one round trip.
    """
    found: dict[Wanted, str] = {}
    by_statement: dict[str, list[Wanted]] = {}
    for wanted in searches:
        by_statement.setdefault(wanted[0], []).append(wanted)

    async def read(statement: str, several: Sequence[Wanted]) -> None:
        arguments = zip(*(wanted[1] for wanted in several), strict=True)
        for place, page in await database.fetch(statement, *map(list, arguments)):
            found[several[place - 1]] = page

    await asyncio.gather(*(read(*one) for one in by_statement.items()))
    return found
