"""Everything that can be set, read from the environment here and nowhere else.

Each field is one environment variable: its own alias (`DATABASE_URL`) or its
name in capitals behind `HLFAST_` (`HLFAST_HTTP_PORT`). SETTINGS.md is made from this
file by `python -m hl_utils.settings_page`: a class is a group of it, a description a row.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from hlfast import addresses
from hlfast.addresses import Network

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
        description="Let concurrent messages to different dialogs share a statement (PostgreSQL).",
    )
    remember_tokens: bool = Field(
        True, description="Keep verified access tokens in memory until they expire."
    )
    keep_bodies: bool = Field(
        True,
        description="Hold encoded users and pages in the response cache; the database is asked "
        "only whether they are still right.",
    )
    freeze_gc: bool = Field(
        True, description="Exempt what exists after the start from garbage collection."
    )
    batch_scheduling: bool = Field(
        True,
        description="Let no thread of the API that wakes up interrupt the one at work "
        "(SCHED_BATCH, Linux).",
    )


def default_home() -> Path:
    """The embedded servers' directory: root's is one that an unprivileged user can enter."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/hlfast")
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data or Path.home() / ".local" / "share") / "hlfast"


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
        place = (
            host if port in (None, 443 if origin.scheme == "https" else 80) else f"{host}:{port}"
        )
        if written not in (f"{origin.scheme}://{place}", f"{origin.scheme}://{host}:{port}"):
            raise ValueError(f"{one} is no origin, which is https://HOST or https://HOST:PORT")
        found.add(f"{origin.scheme}://{place}")
    return frozenset(found)


def _origins(text: str) -> str:
    origins_of(text)
    return text


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


def _with_password(url: str, password: str) -> str:
    """The URL with a password, which is encoded, unless it has one or none is given."""
    scheme, separator, rest = url.partition("://")
    authority, slash, place = rest.partition("/")
    user, _, servers = authority.rpartition("@")
    if not password or not separator or ":" in user:
        return url
    return f"{scheme}://{user}:{quote(password, safe='')}@{servers}{slash}{place}"


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


class Requests(BaseModel):
    """Bounds of the HTTP API: bodies, connections, requests in progress."""

    body_bytes_max: int = Field(
        65536, ge=1024, description="Bytes of a request's body; beyond: 413."
    )
    bodies_bytes_max: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of memory for the response cache of one process.",
    )
    friends_max: int = Field(10_000, ge=1, description="Friends of one user; beyond: 409.")
    feed_posts_max: int = Field(1000, ge=1, description="Newest posts that a feed reaches back to.")
    connections_max: int = Field(
        4096, ge=1, description="Open client connections of one API process."
    )
    http2: bool = Field(
        False,
        description="Take HTTP/2 without TLS, too. No bound counts its streams: only for a "
        "proxy, on a port that nobody else reaches.",
    )
    head_timeout_s: float = Field(
        10.0,
        gt=0,
        description="Time for a request's head: of a connection's first request since the "
        "connection was made, of later ones since their first byte.",
    )
    body_timeout_s: float = Field(
        10.0, gt=0, description="Time for a request's whole body; beyond: 408."
    )
    answer_timeout_s: float = Field(30.0, gt=0, description="Time for a client to take the answer.")
    idle_timeout_s: float = Field(
        75.0,
        ge=1,
        description="Longest pause between two requests of a connection; longer than any proxy "
        "in front of the API keeps one.",
    )
    requests_max: int = Field(
        256,
        ge=1,
        description="Requests of one API process in progress; beyond, admission control answers "
        "503.",
    )
    user_requests_max: int = Field(
        64, ge=1, description="Requests of one user in progress in one API process; beyond: 429."
    )
    refusals_per_s_max: int = Field(
        2000,
        ge=1,
        description="Answers of 503 by admission control in a second; further ones, and their "
        "clients, wait.",
    )


class Databases(BaseModel):
    """Bounds of the databases: connections, statements, replicas, batches."""

    database_pool_size: int = Field(
        8, ge=1, le=1000, description="Connections of one process to each database."
    )
    database_queue_max: int = Field(
        2048, ge=1, description="Statements of one process that wait for a connection; beyond: 503."
    )
    database_timeout_s: float = Field(
        10.0,
        gt=0,
        description="Longest wait for one statement, the wait for a connection included.",
    )
    replica_wait_s: float = Field(
        0.02,
        ge=0,
        description="Longest wait for a replica to replay what a read must see; then the "
        "primary answers.",
    )
    replica_timeout_s: float = Field(
        1.0, gt=0, description="Silence after which a replica is left out."
    )
    replica_retry_s: float = Field(
        1.0,
        gt=0,
        description="Pause before a lost replica is tried again, and between two looks at an "
        "idle one.",
    )
    batch_max: int = Field(512, ge=1, description="Keys of one batch of reads.")
    batches_max: int = Field(
        2,
        ge=1,
        description="Batches of one kind of read under way at once; further reads wait and "
        "share the next batch.",
    )
    sends_batch_max: int = Field(
        128, ge=1, description="Messages of one batch, each to another dialog."
    )
    sends_batches_max: int = Field(
        2,
        ge=1,
        description="Batches of messages under way at once; further messages wait and share the "
        "next batch.",
    )


class EventLog(BaseModel):
    """Redis and the event log: deadlines, retention, batches of events."""

    redis_timeout_s: float = Field(0.25, gt=0, description="Longest wait for Redis.")
    redis_retry_s: float = Field(
        1.0, gt=0, description="Pause before Redis is asked again after a failure."
    )
    events_timeout_s: float = Field(
        5.0, gt=0, description="Longest wait for the event log to confirm or answer."
    )
    events_retry_s: float = Field(
        1.0, gt=0, description="Longest pause before the event log is asked again after a failure."
    )
    events_kept_bytes: int = Field(
        256 * 1024 * 1024, ge=65536, description="Bytes of events that the log retains, about."
    )
    events_kept_s: int = Field(
        3600, ge=1, description="Age up to which the log retains events, about."
    )
    events_batch_max: int = Field(
        512, ge=1, description="Events of one batch, which is one entry of the log."
    )
    events_batch_bytes_max: int = Field(
        262_144,
        ge=1024,
        description="Bytes of the events of one batch, unless one event alone is longer.",
    )
    events_batches_max: int = Field(
        8,
        ge=1,
        description="Batches of events that await their confirm; further events wait and share "
        "the next batch. On Redis it is one.",
    )
    events_queue_max: int = Field(
        10_000, ge=1, description="Events of one process that are not confirmed yet; beyond: 503."
    )


class Websockets(BaseModel):
    """The websocket node: connections, frames, slow readers."""

    ws_host: str = Field("127.0.0.1", description="Address that the websocket server listens on.")
    ws_name: str = Field(
        "",
        description="Name of the websocket node, unique among the nodes. Empty: made of host, "
        "port and chance.",
    )
    ws_backlog: int = Field(
        4096, ge=1, description="Connections of a websocket node that are not accepted yet."
    )
    ws_connections_max: int = Field(20_000, ge=1, description="Connections of one websocket node.")
    ws_handshake_timeout_s: float = Field(
        5.0, gt=0, description="Time for the request of a websocket's handshake."
    )
    ws_handshakes_max: int = Field(
        4096,
        ge=1,
        description="Connections of a websocket node whose handshake was not answered yet; "
        "beyond, the address that has most of them loses the oldest.",
    )
    ws_user_connections_max: int = Field(
        100,
        ge=1,
        description="Connections of one user to one websocket node; one more is closed with "
        "4429. On a full node the user with most gives way to others.",
    )
    ws_dismissed_max: int = Field(
        1000,
        ge=1,
        description="Connections that were closed at once, as for a bad token, and whose "
        "clients have not hung up; beyond, the oldest is cut.",
    )
    ws_frame_bytes_max: int = Field(
        16_384, ge=256, description="Bytes of a client's message; beyond: closed with 1009."
    )
    ws_frames_max: int = Field(
        100,
        ge=1,
        description="Frames of one client in HLFAST_WS_FRAMES_WINDOW_S; beyond: closed with 4429.",
    )
    ws_frames_window_s: float = Field(
        10.0, gt=0, description="Window in which a client's frames are counted."
    )
    ws_queue_bytes_max: int = Field(
        1_048_576,
        ge=4096,
        description="Bytes that wait for one slow reader; beyond: closed with 1013.",
    )
    ws_behind_s: float = Field(
        10.0, gt=0, description="Time that a reader may be behind; beyond: closed with 1013."
    )
    ws_join_delay_s: float = Field(
        0.005, ge=0, description="Time in which frames to one busy socket share a write."
    )
    ws_ping_s: float = Field(
        25.0, gt=0, description="Silence of a socket before a ping, and the wait for its answer."
    )
    ws_comment_s: float = Field(
        15.0,
        gt=0,
        description="Pause between two comments in an event stream, which keep it open.",
    )


class Live(BaseModel):
    """What a websocket node holds for resumes, presence, and the outbox behind it."""

    tail_events_max: int = Field(
        100_000, ge=1, description="Events of a node's history, which replays come from."
    )
    tail_bytes_max: int = Field(
        128 * 1024 * 1024,
        ge=1024,
        description="Bytes of a node's history: about 1 KB for each event, and its frames.",
    )
    tail_s: float = Field(
        600.0, gt=0, description="Age up to which events stay in a node's history."
    )
    presence_heartbeat_s: float = Field(
        2.0,
        gt=0,
        description="Pause between two heartbeats of a node; after 3.5 of them in silence it "
        "counts as gone.",
    )
    presence_grace_s: float = Field(
        5.0, ge=0, description="Time that a user without a socket stays online."
    )
    presence_join_s: float = Field(
        0.2, gt=0, description="Time in which comings and goings share a frame."
    )
    outbox_sweep_s: float = Field(
        2.0,
        gt=0,
        description="Pause between two looks of the sweeper for outbox rows that a dead process "
        "left.",
    )
    outbox_age_s: float = Field(
        8.0, gt=0, description="Age from which the sweeper takes an outbox row for left."
    )
    friend_events_max: int = Field(
        10,
        ge=1,
        description="Friend requests and withdrawals of one pair in "
        "HLFAST_FRIEND_EVENTS_WINDOW_S that are events of their own.",
    )
    friend_events_window_s: float = Field(
        3.0,
        gt=0,
        description="Window in which friend requests and withdrawals of a pair are counted; "
        "further ones merge into the latest, which is published at its end.",
    )
    broadcast_queue_max: int = Field(
        1024,
        ge=1,
        description="Broadcasts of presence and typing that wait on either side; beyond, the "
        "oldest is dropped.",
    )


class Stopping(BaseModel):
    """How a process stops without losing a request."""

    drain_notice_s: float = Field(
        2.0,
        ge=0,
        description="Time that the readiness of a stopping API is 503 before it closes its "
        "port; longer than HAProxy's checks take.",
    )
    drain_timeout_s: int = Field(
        6,
        ge=1,
        description="Time for the requests in progress when the API stops; a websocket node "
        "closes its sockets in half of it.",
    )


class Accounts(BaseModel):
    """Tokens, sessions, logins and password hashes."""

    access_token_s: int = Field(900, ge=60, description="Life of an access token.")
    refresh_token_s: int = Field(30 * 86400, ge=60, description="Life of a refresh token.")
    refresh_grace_s: float = Field(
        10.0,
        ge=0,
        description="Time in which a used refresh token still gives the same next one; later it "
        "ends the session.",
    )
    sessions_max: int = Field(
        100, ge=1, description="Sessions of one user; beyond, the one renewed longest ago ends."
    )
    revocation_check_s: float = Field(
        20.0,
        ge=0,
        le=60,
        description="Age at which the account status of a remembered user is looked up again.",
    )
    remembered_tokens_max: int = Field(65536, ge=1, description="Verified tokens kept in memory.")
    login_failures_max: int = Field(
        10,
        ge=1,
        description="Failed logins of one name from one address in HLFAST_LOGIN_WINDOW_S, and, "
        "counted apart, wrong old passwords of one user; beyond: 429.",
    )
    login_window_s: int = Field(300, ge=1, description="Window in which failed logins are counted.")
    password_hash_threads: int = Field(
        2, ge=1, description="Passwords that one process hashes at once."
    )
    password_hash_queue_max: int = Field(
        64, ge=1, description="Passwords that wait to be hashed; beyond: 503."
    )
    password_hash_memory_kib: int = Field(
        19456, ge=8, description="Memory of argon2id (OWASP's first choice, 19 MiB)."
    )
    password_hash_time: int = Field(2, ge=1, description="Passes of argon2id.")


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
        """The dialogs' database, which is the main one unless set apart."""
        return self.dialogs_database_url or self.database_url

    @property
    def replica_urls(self) -> list[str]:
        """Each of the replicas'. Raises SettingsError where there can be none."""
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
        """Whose X-Forwarded-For is believed."""
        return addresses.networks(self.trusted_proxies)

    @property
    def stack_file(self) -> Path:
        """Where a running embedded stack says how it is reached; 0600."""
        return self.home / "stack.json"

    @property
    def secret_file(self) -> Path:
        """The generated secret, kept over restarts; 0600."""
        return self.home / "secret"


def variables() -> list[str]:
    """The name of every variable of the environment."""
    return list(os.environ)


def forget(*names: str) -> None:
    """Take variables of the caller's out of the environment that libraries would read."""
    for name in names:
        os.environ.pop(name, None)


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
