"""argon2id: off the loop, bounded, and as much work for a name that nobody has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import argon2
import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import SECRET
from hl_utils.servers.sql import connect
from hlfast import api, errors
from hlfast.api import Service
from hlfast.auth.passwords import Passwords, hash_password
from hlfast.settings import Settings
from hlfast.users.schemas import UserNew
from hlfast.users.service import Users
from tests.clients import PASSWORD

CHEAP = {"password_hash_memory_kib": 256, "password_hash_time": 1}


class Counting:
    """A hasher that notes what it is asked to verify, and in which thread."""

    def __init__(self, hasher: argon2.PasswordHasher) -> None:
        self._hasher = hasher
        self.verified: list[argon2.Parameters] = []
        self.threads: set[int] = set()

    def verify(self, stored: str, password: str) -> bool:
        """Verify a password, as argon2 does."""
        self.verified.append(argon2.extract_parameters(stored))
        self.threads.add(threading.get_ident())
        return self._hasher.verify(stored, password)

    def hash(self, password: str) -> str:
        """Hash a password, as argon2 does."""
        self.threads.add(threading.get_ident())
        return self._hasher.hash(password)


def users_of(service: Service) -> Users:
    """The feature `Users` of a service."""
    users = service.features["users"]
    assert isinstance(users, Users)
    return users


async def log_in(service: Service, username: str, password: str) -> None:
    """A login, from an address of its own: throttling is not what is tested here."""
    await users_of(service).login(
        username=username,
        password=password,
        address=f"{username} {password}",
    )


def test_an_unknown_name_costs_the_same_work(
    migrated_database_url: str, redis_server: RedisServer
) -> None:
    """One verification, with the same parameters, whatever is wrong."""
    settings = Settings(
        database_url=migrated_database_url, redis_url=redis_server.url, secret=SECRET, **CHEAP
    )

    async def run() -> None:
        async with api.open_service(settings) as service:
            for name in ("known", "disabled"):
                names = {"first_name": "A", "last_name": "B"}
                new = UserNew(username=name, password=PASSWORD, **names)
                await users_of(service).register(new, address="")
            connection = await connect(migrated_database_url)
            await connection.rows("""UPDATE "user" SET disabled = username = 'disabled'""")
            await connection.close()
            counting = service.passwords._hasher = Counting(service.passwords._hasher)  # type: ignore[assignment]
            for name, password in (
                ("known", "wrong"),
                ("unknown", PASSWORD),
                ("", ""),
                ("disabled", PASSWORD),
            ):
                with pytest.raises(errors.Unauthenticated):
                    await log_in(service, name, password)
            await log_in(service, "known", PASSWORD)
            assert len(counting.verified) == 5
            assert len(set(map(str, counting.verified))) == 1
            assert threading.get_ident() not in counting.threads

    asyncio.run(run())


def test_how_old_a_hash_is_is_not_seen_in_the_time(
    migrated_database_url: str, redis_server: RedisServer
) -> None:
    """After a change of the settings, either way: the same work for everybody, known or not."""
    servers = {"database_url": migrated_database_url, "redis_url": redis_server.url}
    cheaper, dearer = CHEAP, {"password_hash_memory_kib": 512, "password_hash_time": 2}

    async def run() -> None:
        for name, costs in (("one", cheaper), ("other", dearer), ("third", cheaper)):
            settings = Settings(secret=SECRET, **servers, **costs)
            async with api.open_service(settings) as service:
                new = UserNew(username=name, password=PASSWORD, first_name="A", last_name="B")
                await users_of(service).register(new, address="")
                if name == "one":
                    continue
                counting = service.passwords._hasher = Counting(service.passwords._hasher)  # type: ignore[assignment]
                works = []
                for who in ("nobody", "one", name):
                    with pytest.raises(errors.Unauthenticated):
                        await log_in(service, who, "wrong")
                    works.append(list(map(str, counting.verified)))
                    counting.verified.clear()
                assert works[0] == works[1] == works[2]
                assert len(set(works[0])) == len(works[0]) == 2

    asyncio.run(run())


def test_a_right_login_is_hashed_anew(
    migrated_database_url: str, redis_server: RedisServer
) -> None:
    servers = {"database_url": migrated_database_url, "redis_url": redis_server.url}

    async def run() -> None:
        seen = []
        for costs in (CHEAP, {"password_hash_memory_kib": 512, "password_hash_time": 2}):
            settings = Settings(secret=SECRET, **servers, **costs)
            async with api.open_service(settings) as service:
                if not seen:
                    new = UserNew(
                        username="myself", password=PASSWORD, first_name="A", last_name="B"
                    )
                    await users_of(service).register(new, address="")
                for password in ("wrong", PASSWORD, PASSWORD):
                    with suppress(errors.Unauthenticated):
                        await log_in(service, "myself", password)
                    row = await service.main.fetch_row("user_credentials", "myself")
                    assert row is not None
                    seen.append((row["password_hash"], row["token_version"]))
        # Once, and no token is refused for it.
        assert seen[0] == seen[1] == seen[2] == seen[3] != seen[4] == seen[5]
        assert {version for _, version in seen} == {0}
        parameters = argon2.extract_parameters(seen[5][0])
        assert (parameters.memory_cost, parameters.time_cost) == (512, 2)

    asyncio.run(run())


def run_with(settings: Settings, use: Callable[[Passwords], Awaitable[Any]]) -> Any:
    """Passwords, opened and closed."""

    async def run() -> Any:
        passwords = Passwords(settings)
        try:
            return await use(passwords)
        finally:
            passwords.close()

    return asyncio.run(run())


def test_no_more_wait_than_may() -> None:
    settings = Settings(password_hash_threads=1, password_hash_queue_max=2, **CHEAP)

    async def use(passwords: Passwords) -> None:
        for _ in range(2):  # nothing is under way any more afterwards
            tries = [passwords.hash(PASSWORD) for _ in range(5)]
            results = await asyncio.gather(*tries, return_exceptions=True)
            refused = [result for result in results if isinstance(result, errors.Unavailable)]
            assert len(refused) == 2
            assert refused[0].retry_after_s >= 1

    run_with(settings, use)


def test_one_address_keeps_nobody_else_out() -> None:
    settings = Settings(password_hash_threads=1, password_hash_queue_max=4, **CHEAP)
    stored = hash_password(PASSWORD, settings)

    async def use(passwords: Passwords) -> None:
        flood = [passwords.verify(None, PASSWORD, "192.0.2.1") for _ in range(50)]
        flood += [passwords.hash(PASSWORD, "192.0.2.1") for _ in range(50)]
        tries = [*flood, passwords.verify(stored, PASSWORD, "192.0.2.2")]
        *refused, mine = await asyncio.gather(*tries, return_exceptions=True)
        assert mine is True
        assert any(isinstance(result, errors.Unavailable) for result in refused)

    run_with(settings, use)


def test_what_is_stored_is_argon2id_as_set() -> None:
    parameters = argon2.extract_parameters(hash_password(PASSWORD, Settings()))
    assert parameters.type is argon2.Type.ID
    # OWASP's first choice: 19 MiB, two passes, one lane.
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert hash_password(PASSWORD, Settings(**CHEAP)) != hash_password(PASSWORD, Settings(**CHEAP))


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$2b$12$abc"])
def test_what_is_no_hash_fits_nothing(stored: str) -> None:
    async def use(passwords: Passwords) -> bool:
        return await passwords.verify(stored, "")

    assert run_with(Settings(**CHEAP), use) is False
