"""URLs of servers: what is wrong with one, in a sentence that repeats nothing secret."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hlfast.settings import SettingsError

DATABASES = ("postgresql", "mysql", "postgres")
REDIS = ("redis", "rediss", "unix")
RABBITMQ = ("amqp", "amqps")
EVENTS = ("amqp", "redis", *RABBITMQ, *REDIS)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://")
# One of those that commas are between.
_SERVER = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*)(:\d{0,5})?")
_ENCODED = "in a password @ is written %40, : is %3A, / is %2F, # is %23, ? is %3F and % is %25"


def need(what: str, url: str, schemes: Sequence[str]) -> None:
    """Raises SettingsError if nothing can be reached at a URL.

    `what` it is begins the sentence; the first two of the `schemes` that will do are named.
    """
    if wrong := problem(url, schemes):
        raise SettingsError(f"{what} is not acceptable: {wrong}")


def problem(url: str, schemes: Sequence[str]) -> str:
    """Why nothing can be reached at a URL, empty if there is no reason."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in schemes:
        begins = f"begins with {scheme[1]}://" if scheme else "has no scheme"
        return f"it {begins}, and {' or '.join(f'{one}://' for one in schemes[:2])} is right"
    location, _, _ = url[scheme.end() :].partition("?")
    authority, _, path = location.partition("/")
    login, _, servers = authority.rpartition("@")
    # Where a character of a password ends what it is part of, the rest of it is in another part.
    is_torn = (
        "#" in url
        or (authority and "@" in path)
        # asyncpg takes the first @ for the end of the password, others the last one.
        or ("@" in login and scheme[1].lower().startswith("postgres"))
        or not all(map(_SERVER.fullmatch, servers.split(",")))
    )
    return f"it cannot be taken apart: {_ENCODED}" if is_torn else ""
