"""PostgreSQL, and what stands before it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg

from hl_utils.check import schema
from hl_utils.check.databases import ENCODING, Seen, Watched
from hl_utils.check.finding import (
    DURABILITY_OFF,
    READ_ONLY,
    Answers,
    Finding,
    Kind,
    old,
    skew,
)
from hlfast.db.postgres import connect
from hlfast.errors import Unavailable

# The oldest that its makers still mend.
VERSION_MIN = (14,)
WAL_LEVEL = Kind(
    "wal-level",
    "error",
    "a standby needs `replica`, moving shards under load needs `logical`",
    "set wal_level as named, and restart the server",
)
POOLER_PREPARED = Kind(
    "pooler-prepared",
    "error",
    "statements are prepared once for each connection, and this one's server changes under it",
    "PgBouncer: pool_mode = session, or max_prepared_statements = 200 from 1.21 on",
)
POOLER_STARTUP = Kind(
    "pooler-startup",
    "error",
    "no connection is opened through it",
    "PgBouncer: ignore_startup_parameters = jit",
)
REPLICA_NO_SLOT = Kind(
    "replica-no-slot",
    "warning",
    "one that was away for long finds the log gone and must be copied anew",
    "make a slot with pg_create_physical_replication_slot, name it in primary_slot_name",
)
SLOT_IDLE = Kind(
    "slot-idle",
    "warning",
    "the primary keeps all log for it until its disk is full",
    "start its standby, or pg_drop_replication_slot it; bound it by max_slot_wal_keep_size",
)
NODE_AWAY = Kind(
    "node-away",
    "error",
    "its dialogs are refused with 503, and lists of dialogs lack them",
    "start it; if it is lost for good: `hlfast shards forget`",
)
KINDS = (WAL_LEVEL, POOLER_PREPARED, POOLER_STARTUP, REPLICA_NO_SLOT, SLOT_IDLE, NODE_AWAY)

_DIALECT = "postgres"
_CLOSE_S = 1.0
# How long a node of a cluster is waited for: all are asked at once.
_NODE_S = 2
# A pooler under load may hand us other servers' connections for some time.
_POOLER_TRIES = 5


async def look(watched: Watched) -> Seen:
    """Everything about one database. Raises errors.Unavailable, SettingsError, and asyncpg's."""
    try:
        connection = await connect(watched.url)
    except Unavailable as error:
        if "startup parameter" in error.detail:
            what = error.detail.rpartition(": ")[2]
            refused = f"the pooler refuses the startup parameter {what}"
            return Seen([POOLER_STARTUP.found(watched.subject, refused)], watched)
        raise
    try:
        pooled = await _loses_statements(watched.url, connection)
        # One transaction is one session, even behind a pooler.
        async with connection.transaction(readonly=True):
            return await _look(connection, watched, pooled)
    except asyncpg.PostgresConnectionError as error:
        if "transaction blocks not allowed" not in str(error):
            raise
        what = "a pooler keeps no transaction, so nothing else was checked"
        return Seen([POOLER_PREPARED.found(watched.subject, what)], watched)
    finally:
        with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=_CLOSE_S)


async def _look(connection: asyncpg.Connection, watched: Watched, pooled: bool) -> Seen:
    subject = watched.subject
    before_s = time.time()
    clock = await ask(connection, "clock")
    answers: list[Finding | None] = [
        POOLER_PREPARED.unless(not pooled, subject, "a pooler loses prepared statements"),
        skew(subject, before_s, clock[0]["now_s"], time.time()),
    ]
    server = (await ask(connection, "server"))[0]
    answers += _server(server, watched)
    answers += _replication(server, watched)
    if server["has_nodes"]:
        answers += await _nodes(connection, subject)
    spread = await ask(connection, "spread") if server["has_spread"] else ()
    answers += await schema.look(
        subject,
        _DIALECT,
        watched.databases,
        partial(ask, connection),
        has_ledger=server["has_ledger"],
        spread={row["table_name"] for row in spread},
    )
    bounds = (
        server["connections_left"],
        server["database_connections_max"],
        server["role_connections_max"],
    )
    return Seen(
        answers,
        watched,
        server=f"{server['cluster']} {server['started_at']}",
        connections_max=min(one for one in bounds if one >= 0),
        cluster=server["cluster"],
        is_standby=server["is_standby"],
    )


async def _nodes(connection: asyncpg.Connection, subject: str) -> Answers:
    await connection.execute(f"SET LOCAL citus.node_connection_timeout = '{_NODE_S}s'")
    away = [
        f"{row['node']}, with {row['shards']} of {row['shards_of_all']} shards, does not answer: "
        f"{row['why'].strip().partition(chr(10))[0]}"
        for row in await ask(connection, "nodes")
    ]
    return [NODE_AWAY.unless(not away, subject, "; ".join(away))]


async def ask(connection: asyncpg.Connection, name: str) -> Sequence[Any]:
    """The rows of a statement of sql/postgres/checks/.

    Under a name that nobody else's statements have: a pooler may hand us a session that the
    service has prepared some in.
    """
    statement = await connection.prepare(schema.statement(_DIALECT, name), name=_name())
    rows: Sequence[Any] = await statement.fetch()
    return rows


def _name() -> str:
    return f"hlfast_check_{secrets.token_hex(8)}"


async def _loses_statements(url: str, first: asyncpg.Connection) -> bool:
    """Whether another client gets the session in which we prepared a statement."""
    second = await connect(url)
    try:
        for _ in range(_POOLER_TRIES):
            name = _name()
            statement = await first.prepare("SELECT 1", name=name)
            async with second.transaction():
                await second.prepare("SELECT 1", name=name)
            await statement.fetch()
    except (
        # It was given ours …
        asyncpg.DuplicatePreparedStatementError,
        # … or we were given another one.
        asyncpg.InvalidSQLStatementNameError,
    ):
        return True
    finally:
        with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await second.close(timeout=_CLOSE_S)
    return False


def _server(server: Any, watched: Watched) -> Answers:
    subject = watched.subject
    return [
        old(subject, "PostgreSQL", server["version"], VERSION_MIN),
        ENCODING.unless(
            server["encoding"] == "UTF8", subject, f"its encoding is {server['encoding']}, not UTF8"
        ),
        DURABILITY_OFF.unless(not server["unsafe"], subject, ", ".join(server["unsafe"])),
        READ_ONLY.unless(
            watched.is_replica or not (server["is_standby"] or server["is_read_only"]),
            subject,
            "it is a standby" if server["is_standby"] else "default_transaction_read_only = on",
        ),
    ]


def _replication(server: Any, watched: Watched) -> Answers:
    subject, level = watched.subject, server["wal_level"]
    needed = "logical" if server["has_citus"] else "replica" if watched.has_replicas else ""
    enough = level == "logical" or needed == "" or (needed, level) == ("replica", "replica")
    answers = [WAL_LEVEL.unless(enough, subject, f"wal_level is {level}, not {needed}")]
    has_slot = bool(server["primary_slot_name"]) or not server["is_standby"]
    answers.append(REPLICA_NO_SLOT.unless(has_slot, subject, "it streams without a slot"))
    without, idle = server["standbys_without_slot"], server["idle_slots"]
    answers.append(
        REPLICA_NO_SLOT.unless(not without, subject, f"{without} of its standbys have no slot")
    )
    answers.append(
        SLOT_IDLE.unless(not idle, subject, f"nobody reads from the slot {', '.join(idle)}")
    )
    return answers
