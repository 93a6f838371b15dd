"""Registration, login, profiles and search."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hlfast import errors
from hlfast.auth.account import Authenticator, account_statuses
from hlfast.auth.passwords import Passwords
from hlfast.auth.sessions import Sessions
from hlfast.auth.throttle import FailureThrottle
from hlfast.batching import BatchLimits
from hlfast.codec import search_key
from hlfast.db.database import Database, Row
from hlfast.ids import USER_ID_MAX
from hlfast.profiles import Profile, Profiles, profile
from hlfast.response_cache import ResponseCache
from hlfast.users.schemas import Search, UserNew, UserPatch
from hlfast.users.search import UserSearch

_WRONG_PAIR = "The name or the password is wrong."


def username_key(username: str) -> str:
    """What makes a username unique: its case does not count."""
    return username.lower()


class Users:
    """Accounts and their profiles. `reads` is the database of searches: a replica may answer them.

    `throttle` makes the count of one kind of failed attempts. `search_limits` are those of pages
    found by one statement.
    """

    def __init__(
        self,
        database: Database,
        reads: Database,
        profiles: Profiles,
        cache: ResponseCache,
        passwords: Passwords,
        sessions: Sessions,
        authenticator: Authenticator,
        throttle: Callable[[str], FailureThrottle],
        *,
        search_limits: BatchLimits,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._sessions = sessions
        self._authenticator = authenticator
        self._login_failures = throttle("failures")
        self._password_failures = throttle("password-failures")
        self._search = UserSearch(reads, profiles, cache, search_limits)

    async def register(self, new: UserNew, *, address: str) -> Row:
        """The new user's row. Raises errors.Conflict when the name is taken."""
        key = username_key(new.username)
        # Asked first only to spare the hash; who wins is decided by the INSERT.
        if await self._database.fetch("user_credentials", key):
            raise errors.Conflict("This username is taken.")
        user = await self._database.fetch_row(
            "user_create",
            new.username,
            key,
            await self._passwords.hash(new.password, address),
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

    async def login(self, *, username: str, password: str, address: str) -> dict[str, Any]:
        """A pair of tokens, which begin a session.

        Raises errors.Unauthenticated for a wrong pair, errors.TooMany after repeated failures of
        the name from the address: of both, so that nobody locks out somebody else.
        """
        async with self._login_failures.attempt(f"{username_key(username)[:64]}@{address}"):
            user = await self._database.fetch_row("user_credentials", username_key(username))
            known = user["password_hash"] if user else None
            fits = await self._passwords.verify(known, password, address)
            if user is None or not fits or user["disabled"]:
                raise errors.Unauthenticated(_WRONG_PAIR)
        stored = user["password_hash"]
        if self._passwords.is_outdated(stored):
            # It can wait for the next login.
            with suppress(errors.Unavailable):
                new = await self._passwords.hash(password, address)
                await self._database.fetch("user_rehash", user["id"], stored, new)
        return await self._sessions.start(user["id"], user["token_version"])

    async def renew(self, refresh_token: str) -> dict[str, Any]:
        """The next pair of tokens of a session. Raises errors.Unauthenticated."""
        return await self._sessions.renew(refresh_token)

    async def logout(self, refresh_token: str) -> None:
        """End the session of a refresh token."""
        await self._sessions.end(refresh_token)

    def get(self, user_id: int) -> Coroutine[Any, Any, Profile]:
        """One user. Raises errors.NotFound."""
        return self._profiles.need(user_id)

    async def several(self, ids: Sequence[int]) -> Sequence[Profile]:
        """The users of these ids that exist, each once, in this order, as JSON."""
        possible = [user_id for user_id in dict.fromkeys(ids) if user_id <= USER_ID_MAX]
        return [user for user in await self._profiles.get_many(possible) if user is not None]

    async def change(self, user_id: int, patch: UserPatch) -> Profile:
        """The user after the change of their own profile. Raises errors.NotFound."""
        given = patch.model_fields_set
        if not given:
            return await self.get(user_id)
        first_name = patch.first_name if "first_name" in given else None
        last_name = patch.last_name if "last_name" in given else None
        user = await self._database.fetch_row(
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
        self._profiles.put(user_id, changed)
        return changed

    async def change_password(self, user_id: int, *, old: str, new: str, address: str) -> None:
        """Revokes every token issued before.

        Raises errors.Forbidden for a wrong old password, errors.TooMany after repeated ones of the
        user from the address.
        """
        async with self._password_failures.attempt(f"{user_id}@{address}"):
            user = await self._database.fetch_row("user_credentials_by_id", user_id)
            stored = user["password_hash"] if user else None
            if not await self._passwords.verify(stored, old, address):
                raise errors.Forbidden("The old password is wrong.")
        changed = await self._database.fetch_row(
            "user_set_password", user_id, stored, await self._passwords.hash(new, address)
        )
        if changed is None:
            raise errors.Forbidden("The old password is wrong: it has just been changed.")
        self._authenticator.forget(user_id)

    async def administer(
        self, me: int, token_version: int, user_id: int, *, disabled: bool | None
    ) -> Row:
        """A superuser's change, with a token of a version; None stays.

        Raises errors.Forbidden for anybody else, Unauthenticated for a token from before, NotFound.
        """
        user = await self._database.fetch_row(
            "user_set_disabled", user_id, disabled, me, token_version
        )
        if user is None:
            mine = (await account_statuses(self._database, [me])).get(me)
            if mine is None or mine.disabled or mine.token_version != token_version:
                # What was known of them is of before.
                self._authenticator.forget(me)
                raise errors.Unauthenticated.revoked()
            if not mine.is_superuser:
                raise errors.Forbidden("Only a superuser may do this.")
            raise errors.NotFound("There is no such user.")
        self._authenticator.forget(user_id)
        return user

    def search(self, search: Search) -> Coroutine[Any, Any, bytes]:
        """The page of users whose names start so, by ascending id, as JSON."""
        return self._search.page(search)
