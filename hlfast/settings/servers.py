"""Where the databases, Redis and the event log are, and what each process listens on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, Field

from hlfast import addresses
from hlfast.settings.environment import default_home


def origins_of(value: str) -> frozenset[str]:
    """Origins as browsers write them, from a list with commas. Raises ValueError for any other."""
    found = set()
    for one in filter(None, map(str.strip, value.split(","))):
        if one == "*":
            found.add(one)
            continue
        # As it is copied out of a browser's address bar.
        written = one.removesuffix("/").lower()
        origin = urlsplit(written)
        port = origin.port
        if origin.scheme not in ("http", "https") or origin.hostname is None:
            raise ValueError(f"{one} is no origin, which is https://HOST or https://HOST:PORT")
        host = f"[{origin.hostname}]" if ":" in origin.hostname else origin.hostname
        authority = (
            host if port in (None, 443 if origin.scheme == "https" else 80) else f"{host}:{port}"
        )
        if written not in (f"{origin.scheme}://{authority}", f"{origin.scheme}://{host}:{port}"):
            raise ValueError(f"{one} is no origin, which is https://HOST or https://HOST:PORT")
        found.add(f"{origin.scheme}://{authority}")
    return frozenset(found)


def _origins(text: str) -> str:
    origins_of(text)
    return text


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


def _networks(text: str) -> str:
    addresses.networks(text)
    return text


def _websocket_url(text: str) -> str:
    if text and not re.fullmatch(r"wss?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError("it is no address of a websocket, which is wss://HOST/PATH")
    return text


class Servers(BaseModel):
    """Where the servers are, and what each process listens on."""

    database_url: str = Field(
        "",
        validation_alias=_env("DATABASE_URL"),
        description="Main database, `postgresql://…` or `mysql://…`. Empty: the embedded one.",
    )
    dialogs_database_url: str = Field(
        "",
        validation_alias=_env("DIALOGS_DATABASE_URL"),
        description="Database of the dialogs, `postgresql://…` or `mysql://…`; with commas between "
        "several nodes of a Citus cluster. Empty: the main one.",
    )
    database_replica_urls: str = Field(
        "",
        validation_alias=_env("DATABASE_REPLICA_URLS"),
        description="Standbys of the main database that may answer reads, comma separated.",
    )
    redis_url: str = Field(
        "",
        validation_alias=_env("REDIS_URL"),
        description="Redis, `redis://…` or `unix://…`. Empty: the embedded one.",
    )
    events_url: str = Field(
        "",
        validation_alias=_env("EVENTS_URL"),
        description="Event log: `redis://…`, or `amqp://…` with commas between the servers of a "
        "cluster. Empty: the Redis of REDIS_URL.",
    )
    events_name: str = Field(
        "hlfast",
        min_length=1,
        max_length=64,
        description="First part of every name of ours on the event log's server.",
    )
    database_password: str = Field(
        "",
        repr=False,
        description="Password for DATABASE_URL and DATABASE_REPLICA_URLS if they have none, "
        "with nothing encoded.",
    )
    dialogs_database_password: str = Field(
        "",
        repr=False,
        description="Password for DIALOGS_DATABASE_URL if it has none, with nothing encoded.",
    )
    redis_password: str = Field(
        "", repr=False, description="Password for REDIS_URL if it has none, with nothing encoded."
    )
    events_password: str = Field(
        "", repr=False, description="Password for EVENTS_URL if it has none, with nothing encoded."
    )
    home: Path = Field(
        default_factory=default_home, description="Directory of the embedded servers' data."
    )
    secret: str = Field(
        "",
        repr=False,
        description="Secret that signs tokens, the same in every process, 32 bytes or more. "
        "Empty: the first start makes one in HLFAST_HOME.",
    )
    http_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    http_port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    ws_port: int = Field(8001, ge=1, le=65535, description="Port of the websocket server.")
    ws_url: Annotated[
        str,
        Field(
            description="Where browsers find the websocket, `wss://HOST/ws`. Empty: at `/ws` of "
            "the front door, which says so by X-Forwarded-For; without one at HLFAST_WS_PORT."
        ),
        AfterValidator(_websocket_url),
    ] = ""
    demo: bool = Field(
        True,
        description="`up` puts some demo people into an embedded database that has nobody yet.",
    )
    lab: bool = Field(
        False,
        description="Let superusers see on `/lab` what a process is at, and flip its switches of "
        "tuning. `up` lets them where it made the database.",
    )
    workers: int = Field(1, ge=1, le=256, description="API processes.")
    trusted_proxies: Annotated[
        str,
        Field(
            description="Addresses and networks, comma separated, whose X-Forwarded-For is "
            "believed."
        ),
        AfterValidator(_networks),
    ] = ""
    allowed_origins: Annotated[
        str,
        Field(
            description="Origins of other pages that may call the API, comma separated, or `*`. "
            "Empty: none."
        ),
        AfterValidator(_origins),
    ] = ""
    access_log: bool = Field(False, description="Write a line for every request.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of the log's lines: `text`, or `json` objects."
    )
    first_superuser: str = Field(
        "",
        validation_alias=_env("FIRST_SUPERUSER"),
        description="Name of the superuser that `hlfast superuser` makes.",
    )
    first_superuser_password: str = Field(
        "",
        repr=False,
        validation_alias=_env("FIRST_SUPERUSER_PASSWORD"),
        description="Password of that superuser.",
    )
