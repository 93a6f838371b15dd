"""The databases that the settings name, what asks them, and what needs all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hl_utils.check.finding import Answers, Finding, Kind
from hlfast.db import queries
from hlfast.settings import Settings

CONNECTIONS = Kind(
    "connections",
    "error",
    "processes beyond it do not start, or requests get a 503",
    "raise max_connections, or lower HLFAST_WORKERS or HLFAST_DATABASE_POOL_SIZE",
)
ENCODING = Kind(
    "encoding",
    "error",
    "texts in many scripts are refused or damaged",
    "make the database anew in the encoding named, and load a dump into it",
)
NOT_STANDBY = Kind(
    "not-standby",
    "error",
    "it is never asked, or its answers are those of another database",
    "take it out of DATABASE_REPLICA_URLS, or make it a standby of the primary",
)
KINDS = (CONNECTIONS, ENCODING, NOT_STANDBY)


@dataclass(frozen=True, slots=True)
class Processes:
    """What runs against the servers: machines with an API, of `workers` each, and nodes."""

    apis: int = 1
    websockets: int = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """A database: whose tables it holds (`databases`: main, dialogs, both), its connections."""

    subject: str
    url: str
    databases: Sequence[str]
    connections: int
    is_replica: bool = False
    has_replicas: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at one database found.

    `server` names the server, `cluster` it and its standbys; `connections_max` is its bound.
    """

    answers: Answers
    watched: Watched
    server: str = ""
    connections_max: int = 0
    cluster: str = ""
    is_standby: bool = False


def watched(settings: Settings, processes: Processes) -> list[Watched]:
    """Every database that the settings name."""
    each = settings.database_pool_size
    apis = processes.apis * settings.workers * each
    main = apis + processes.websockets * each
    replicas = settings.replica_urls
    shared = settings.dialogs_url == settings.database_url
    databases = (queries.MAIN, queries.DIALOGS) if shared else (queries.MAIN,)
    found = [
        Watched("database", settings.database_url, databases, main, has_replicas=bool(replicas))
    ]
    if not shared:
        found.append(Watched("dialogs", settings.dialogs_url, (queries.DIALOGS,), apis))
    for number, url in enumerate(replicas, 1):
        # Each process watches each of them through one connection more.
        pools = apis + processes.apis * settings.workers
        found.append(Watched(f"replica {number}", url, (queries.MAIN,), pools, is_replica=True))
    return found


def replicas(looks: Sequence[Seen]) -> Answers:
    """Each replica against the primary, which may be named among them."""
    primary = next((one for one in looks if one.cluster and _is_primary(one.watched)), None)
    return [
        NOT_STANDBY.unless(
            look.cluster == primary.cluster and (look.is_standby or look.server == primary.server),
            look.watched.subject,
            "it is no standby" if not look.is_standby else "it is another primary's standby",
        )
        for look in looks
        if look.watched.is_replica and look.cluster and primary is not None
    ]


def _is_primary(watched: Watched) -> bool:
    return queries.MAIN in watched.databases and not watched.is_replica


def findings(looks: Sequence[Seen]) -> Answers:
    """The findings of all looks; none twice about a primary that is named among its replicas."""
    primaries = {look.server for look in looks if _is_primary(look.watched)}
    return [
        answer
        for look in looks
        if not (look.watched.is_replica and look.server in primaries)
        for answer in look.answers
    ]


def connections(looks: Sequence[Seen]) -> Answers:
    """The pools of all databases of one server against what it takes."""
    by_server: dict[str, list[Seen]] = {}
    for look in looks:
        if look.server:
            by_server.setdefault(look.server, []).append(look)
    answers: list[Finding | None] = []
    for together in by_server.values():
        wanted = sum(look.watched.connections for look in together)
        bound = min(look.connections_max for look in together)
        answers.append(
            CONNECTIONS.unless(
                wanted <= bound,
                ", ".join(look.watched.subject for look in together),
                f"the pools open {wanted} connections, the server has {bound} for them",
            )
        )
    return answers
