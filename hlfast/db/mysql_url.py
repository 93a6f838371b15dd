"""The URL of a MySQL or MariaDB database, as arguments of a connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from hlfast import urls
from hlfast.settings import SettingsError


def _not_a_url() -> SettingsError:
    return SettingsError(
        "the database's URL is not acceptable: it is mysql://user:password@host:port/database, "
        "and may end in ?unix_socket=/path"
    )


def connect_arguments(url: str) -> dict[str, Any]:
    """The arguments of aiomysql.connect. Raises SettingsError, which repeats nothing of the URL."""
    urls.need("the database's URL", url, urls.DATABASES)
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _not_a_url() from None
    database = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "mysql" or not database or options.keys() - {"unix_socket"}:
        raise _not_a_url()
    return {
        "host": parts.hostname or "localhost",
        "port": port,
        "unix_socket": options.get("unix_socket"),
        "user": unquote(parts.username or ""),
        # aiomysql makes latin1 of it, and the server compares UTF-8.
        "password": unquote(parts.password or "").encode().decode("latin1"),
        "db": database,
        "charset": "utf8mb4",
        "autocommit": True,
        "program_name": "hlfast",
    }
