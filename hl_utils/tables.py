"""Make the tables, and the superuser: what an operator does once before the service starts."""

from __future__ import annotations

import asyncio
import getpass
import sys

from hl_utils.failures import need_database, reported
from hlfast.auth.passwords import hash_password, parameters_of
from hlfast.codec import search_key
from hlfast.db import migrations, queries
from hlfast.db.open import open_database
from hlfast.errors import Invalid
from hlfast.settings import Settings, SettingsError
from hlfast.users.schemas import UserNew
from hlfast.users.service import username_key
from hlfast.web.fields import validate

# A new superuser's names until she changes them; one who was there keeps hers.
_FIRST_NAME, _LAST_NAME = "Super", "User"


def tables(settings: Settings) -> int:
    """Bring the databases to the newest schema and say what was done; the exit code.

    Any number of these may run at once.
    """
    return reported("hlfast tables", lambda: _tables(settings))


def superuser(settings: Settings, *, promote: bool = False) -> int:
    """Make the superuser of the settings, or of a prompt; the exit code.

    A superuser who is there gets the password, and her tokens are refused from then on. Anybody
    else of that name only with `promote`: whoever guessed the name may have registered it.
    """
    return reported("hlfast superuser", lambda: _superuser(settings, promote))


def _tables(settings: Settings) -> int:
    need_database(settings)
    applied = asyncio.run(migrations.apply_all(settings))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the tables are up to date")
    return 0


def _superuser(settings: Settings, promote: bool) -> int:
    need_database(settings)
    user = _acceptable(*_name_and_password(settings))
    user_id = asyncio.run(_make_superuser(user, settings, promote))
    if user_id is None:
        raise SettingsError(
            f"{user.username} is somebody's account already: take another name, or make this "
            "account the superuser, with this password, by `hlfast superuser --promote`"
        )
    print(f"{user.username} (id {user_id}) is a superuser")
    return 0


def _name_and_password(settings: Settings) -> tuple[str, str]:
    """From the settings, and what is missing there from whoever sits at the terminal."""
    name, password = settings.first_superuser, settings.first_superuser_password
    if (not name or not password) and not sys.stdin.isatty():
        raise SettingsError("set FIRST_SUPERUSER and FIRST_SUPERUSER_PASSWORD")
    try:
        name = name or input("Superuser's name: ")
        if not password:
            password = getpass.getpass(f"Password of {name}: ")
            if getpass.getpass("Once more: ") != password:
                raise SettingsError("the passwords differ")
    except EOFError:
        raise SettingsError("nothing was typed") from None
    return name, password


def _acceptable(name: str, password: str) -> UserNew:
    """Held to the rules of a registration. Raises SettingsError, which repeats no password."""
    try:
        user: UserNew = validate(
            UserNew,
            {
                "username": name,
                "password": password,
                "first_name": _FIRST_NAME,
                "last_name": _LAST_NAME,
            },
            "superuser",
        )
    except Invalid as error:
        wrong = error.errors[0]
        raise SettingsError(f"the superuser's {wrong['loc'][-1]}: {wrong['msg']}") from None
    return user


async def _make_superuser(user: UserNew, settings: Settings, promote: bool) -> int | None:
    """The superuser's id; None where somebody else has the name and may keep it."""
    one = settings.model_copy(update={"database_pool_size": 1})
    database = await open_database(settings.database_url, [queries.MAIN], one)
    password_hash = hash_password(user.password, settings)
    try:
        # These settings need not be those of the API, which hides how old a hash is.
        await database.fetch("password_parameters", parameters_of(password_hash))
        row = await database.fetch_row(
            "user_make_superuser",
            user.username,
            username_key(user.username),
            password_hash,
            user.first_name,
            user.last_name,
            search_key(user.first_name),
            search_key(user.last_name),
            promote,
        )
    finally:
        await database.close()
    return None if row is None else int(row["id"])
