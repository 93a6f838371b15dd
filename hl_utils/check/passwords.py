"""The secret and the passwords: too short, easily guessed, or copied from the example."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hl_utils.check.finding import Answers, Finding, Kind
from hlfast import addresses
from hlfast.settings import SECRET_BYTES_MIN, Settings

SECRET_SHORT = Kind(
    "secret-short",
    "error",
    "the service does not start: a short one is guessed, and whoever has it is any user",
    "let bash build.sh make one, or: openssl rand -base64 48",
)
SECRET_KNOWN = Kind(
    "secret-known",
    "error",
    "whoever guesses it signs tokens of any user",
    "let bash build.sh make one, or: openssl rand -base64 48",
)
PASSWORD_KNOWN = Kind(
    "password-known",
    "error",
    "it is among the first that anybody tries",
    "set a random one: openssl rand -base64 24",
)
KINDS = (SECRET_SHORT, SECRET_KNOWN, PASSWORD_KNOWN)

ROOT = Path(__file__).resolve().parents[2]
_PUBLISHED = {".md", ".yml", ".yaml", ".example", ".sample", ".py", ".sh", ".cfg", ".conf"}
# What examples and defaults are made of.
_WORDS = (
    "admin|administrator|change|changeme|changethis|default|demo|dev|dummy|example|foo|bar|guest|"
    "hlfast|insecure|iamsecret|key|letmein|long|me|mysecret|mysql|notsafe|pass|passw0rd|password|"
    "placeholder|please|postgres|prod|random|redis|replace|root|sample|secret|some|string|super|"
    "superuser|test|testing|this|todo|token|user|very|with|xxx|your|abc|qwerty|azerty|a|an|in|to|"
    "of|the|at|least|bytes|characters|or|more"
)
_MADE_OF_WORDS = re.compile(rf"(?:{_WORDS}|[\d\W_])*")
# 32 random bytes as hexadecimal digits have 8 or more of the 16 but in one of 10^15 cases.
_DIFFERENT_MIN = 8


def look(settings: Settings) -> Answers:
    """Look at secrets and passwords of the settings; no server is asked."""
    secret = settings.secret
    length = len(secret.encode())
    answers: list[Finding | None] = [
        SECRET_SHORT.unless(
            length >= SECRET_BYTES_MIN,
            "HLFAST_SECRET",
            f"it has {length} bytes, {SECRET_BYTES_MIN} are needed" if secret else "it is not set",
        )
    ]
    if length >= SECRET_BYTES_MIN:
        weakness = _weakness(secret)
        answers.append(SECRET_KNOWN.unless(not weakness, "HLFAST_SECRET", weakness))
    if settings.first_superuser_password:
        answers.append(
            PASSWORD_KNOWN.unless(
                not _is_guessed(settings.first_superuser, settings.first_superuser_password),
                "FIRST_SUPERUSER_PASSWORD",
                "it is a default, or the name",
            )
        )
    for name, user, password in _passwords(settings):
        known = _is_guessed(user, password)
        answers.append(PASSWORD_KNOWN.unless(not known, name, "it is a default, or the name"))
    return answers


def _weakness(secret: str) -> str:
    """Why anybody may know it; empty if there is no reason."""
    if len(set(secret)) < _DIFFERENT_MIN or _MADE_OF_WORDS.fullmatch(secret.lower()):
        return "it is a placeholder"
    sought = secret.encode()
    for path in _published():
        with suppress(OSError):
            if sought in path.read_bytes():
                return f"it stands in {path.relative_to(ROOT)}, a file of the project"
    return ""


def _is_guessed(user: str, password: str) -> bool:
    lower = password.lower()
    return lower == user.lower() or _MADE_OF_WORDS.fullmatch(lower) is not None


def _published() -> Iterator[Path]:
    """The files of the project that may hold an example."""
    for directory, below, files in os.walk(ROOT):
        # Environments, caches and the repository's own hold more files than the project.
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if Path(name).suffix in _PUBLISHED:
                yield Path(directory, name)


def _passwords(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Setting, user and password of every URL that leads off this machine."""
    urls = [
        ("DATABASE_URL", settings.database_url),
        ("DIALOGS_DATABASE_URL", settings.dialogs_database_url),
        *(("DATABASE_REPLICA_URLS", url) for url in settings.replica_urls),
        ("REDIS_URL", settings.redis_url),
        ("EVENTS_URL", settings.events_url),
    ]
    for name, url in urls:
        # A URL that is none is reported by whoever connects to it.
        with suppress(ValueError):
            parts = urlsplit(url)
            if parts.password and not _is_here(parts.hostname or ""):
                yield name, unquote(parts.username or ""), unquote(parts.password)


def _is_here(host: str) -> bool:
    address = addresses.parse(host)
    return address.is_loopback if address else host.lower() in ("", "localhost")
