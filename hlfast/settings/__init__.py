"""Everything that can be set, read from the environment in this package and nowhere else.

Each field is one environment variable: its own alias (`DATABASE_URL`) or its name in capitals
behind `HLFAST_` (`HLFAST_HTTP_PORT`). SETTINGS.md is made of the fields by
`python -m hl_utils.settings_page`: a class is a group of it, a description a row.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hlfast import addresses
from hlfast.addresses import Network
from hlfast.settings.bounds import (
    Accounts,
    Databases,
    EventLog,
    Live,
    Requests,
    Stopping,
    Websockets,
)
from hlfast.settings.environment import forget, variables
from hlfast.settings.servers import Servers, origins_of

__all__ = [
    "SECRET_BYTES_MIN",
    "Settings",
    "SettingsError",
    "Tuning",
    "forget",
    "from_environment",
    "load",
    "origins_of",
    "variables",
]

SECRET_BYTES_MIN = 32


class SettingsError(Exception):
    """A setting that nothing can be done with: one line for the operator."""


class Tuning(BaseModel):
    """A switch for every optimisation, so that its effect can be measured."""

    batch_reads: bool = Field(
        True, description="Let concurrent single-row reads of one loop turn share a statement."
    )
    batch_sends: bool = Field(
        True,
        description="Let concurrent messages to different dialogs share a statement (not on "
        "Citus).",
    )
    remember_tokens: bool = Field(
        True, description="Keep verified access tokens in memory until they expire."
    )
    keep_bodies: bool = Field(
        True,
        description="Hold encoded users and pages in the response cache; the database is asked "
        "only whether they are still right.",
    )
    encode_at_write: bool = Field(
        True,
        description="Store the JSON of a post beside it, and put walls and feeds together from "
        "that.",
    )
    feeds_from_newest: bool = Field(
        True,
        description="Read the feed of somebody with 400 friends or more from the newest posts of "
        "everybody, while that fills a page.",
    )
    join_events: bool = Field(
        True,
        description="Write the events of one entry of the log to each socket at once (websocket "
        "node).",
    )
    freeze_gc: bool = Field(
        True, description="Exempt what exists after the start from garbage collection."
    )
    batch_scheduling: bool = Field(
        True,
        description="Let no thread of the API that wakes up interrupt the one at work "
        "(SCHED_BATCH, Linux).",
    )


# Pydantic takes the fields of the last group first.
class Settings(
    Accounts, Stopping, Live, Websockets, EventLog, Databases, Requests, Servers, BaseSettings
):
    """The service's settings, bounds included. Times end in `_s` and are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="HLFAST_", env_nested_delimiter="__", extra="ignore", populate_by_name=True
    )

    tuning: Tuning = Field(default_factory=Tuning)

    @model_validator(mode="after")
    def _fill_in_passwords(self) -> Self:
        """Whatever is in them is encoded here: a file that only puts texts together could not."""
        own = self.database_password
        self.database_url = _with_password(self.database_url, own)
        self.database_replica_urls = ",".join(
            _with_password(url.strip(), own) for url in self.database_replica_urls.split(",")
        )
        self.dialogs_database_url = _with_password(
            self.dialogs_database_url, self.dialogs_database_password
        )
        self.redis_url = _with_password(self.redis_url, self.redis_password)
        self.events_url = _with_password(self.events_url, self.events_password)
        return self

    @property
    def dialogs_url(self) -> str:
        """The URL of the dialogs' database, which is the main one unless set apart."""
        return self.dialogs_database_url or self.database_url

    @property
    def replica_urls(self) -> list[str]:
        """The URLs of the replicas. Raises SettingsError for a database that has none."""
        urls = [url.strip() for url in self.database_replica_urls.split(",") if url.strip()]
        for url in (self.database_url, *urls) if urls else ():
            if not url.startswith(("postgresql://", "postgres://")):
                raise SettingsError(
                    "DATABASE_REPLICA_URLS needs PostgreSQL: each of its URLs, and DATABASE_URL, "
                    "must begin with postgresql://"
                )
        return urls

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """The networks of the proxies whose X-Forwarded-For is believed."""
        return addresses.networks(self.trusted_proxies)

    @property
    def stack_file(self) -> Path:
        """The file in which a running embedded stack says how it is reached; its mode is 0600."""
        return self.home / "stack.json"

    @property
    def secret_file(self) -> Path:
        """The file of the generated secret, which outlives restarts; its mode is 0600."""
        return self.home / "secret"


def _with_password(url: str, password: str) -> str:
    """The URL with this password, encoded, unless the URL has one or none is given."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, _, servers = authority.rpartition("@")
    if not password or not separator or ":" in user:
        return url
    return f"{scheme}://{user}:{quote(password, safe='')}@{servers}{slash}{path}"


def from_environment() -> Settings:
    """Settings as the environment has them. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "__".join(map(str, first["loc"]))
        if first["loc"][0] in Settings.model_fields:
            name = f"HLFAST_{name}"
        wrong = first["msg"].removeprefix("Value error, ")
        reason = f"the setting {name.upper()} is not acceptable: {wrong}"
        raise SettingsError(reason) from None


def load() -> Settings:
    """Settings from the environment; what is not set comes from the running embedded stack.

    The stack file holds `database_url`, `redis_url` and `events_url`; it is there while
    `hlfast up` runs. Raises SettingsError.
    """
    settings = from_environment()
    found: dict[str, str] = {}
    with suppress(OSError, ValueError):
        found |= json.loads(settings.stack_file.read_text())
    with suppress(OSError):
        found["secret"] = settings.secret_file.read_text().strip()
    missing = {
        name: found[name]
        for name in ("database_url", "redis_url", "events_url", "secret")
        if found.get(name) and not getattr(settings, name)
    }
    return settings.model_copy(update=missing)
