"""PostgreSQL through asyncpg: the only door to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from hlfast import urls
from hlfast.db import queries
from hlfast.db.database import Database, KeyTaken, Row
from hlfast.db.pool import Pool
from hlfast.errors import Unavailable
from hlfast.settings import Settings, SettingsError

# The database went away, is starting or stopping, or took too long. An
# InterfaceError is asyncpg's word for a connection that closed under our hands.
_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # It takes no connections: ALTER DATABASE … ALLOW_CONNECTIONS false.
    asyncpg.ObjectNotInPrerequisiteStateError,
)
# After these a connection is of no use: an answer is still to come, to nobody; what it has
# prepared no longer fits the tables; or it is to a standby, where the primary was or has yet to be,
# and the next one finds that.
_USELESS = (
    asyncio.CancelledError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.ReadOnlySQLTransactionError,
)
# The server is at fault, whatever it was asked: what it reads is broken, or it is itself.
_OF_SERVER = (asyncpg.PostgresSystemError, asyncpg.InternalServerError)
# Seconds that the tools wait for a connection.
_CONNECT_S = 60.0
# Seconds between attempts while the database is not there yet at start.
_START_RETRY_S = 0.2

# Behind the last host, whose own colons are in brackets.
_PORT = re.compile(r":\d+$")

SERVER_SETTINGS = {
    "application_name": "hlfast",
    "timezone": "UTC",
    # Short statements: compiling their plans costs more than running them.
    "jit": "off",
}


# PostgreSQL would plan a statement anew for every short list of ids, because it costs less than the
# list that a plan is made for beforehand; to plan costs more than both. Citus needs the arguments.
# Every statement has its index: a table that was empty when a plan was made is not read from end
# to end when it no longer is. A bitmap has no order: for a page of a dialog all of its messages
# would be read, as rows of one dialog do not lie side by side.
_PLAN_ONCE = """
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT set_config('plan_cache_mode', 'force_generic_plan', false)
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus');
"""
# A node whose machine lost its power is silent. For 30 s, as Citus has it, or until the statement
# is given up, each statement to it would hold a connection that others wait for.
_NODES_IN_TIME = """
SELECT set_config('citus.node_connection_timeout', '{ms}', false)
FROM pg_extension WHERE extname = 'citus'
"""
# Citus hides its shards from whoever looks at the catalogue: for asyncpg's own look at the types it
# would ask of each table whether it is one, half a second of CPU for each array.
_SHARDS_SHOWN = """
SELECT set_config('citus.override_table_visibility', 'off', false)
FROM pg_extension WHERE extname = 'citus'
"""
# So long Citus may wait for a node, as a part of what a statement may take.
_NODE_SHARE = 0.1

# Whatever a server, or the way to it, fails with.
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_IS_CITUS = "SELECT to_regclass('pg_dist_local_group') IS NOT NULL"
_OF_CLUSTER = "SELECT groupid, EXISTS (SELECT FROM pg_dist_node) FROM pg_dist_local_group"


def is_of_server(error: Exception) -> bool:
    """Whether an error is the server's fault, and no request's."""
    return isinstance(error, _OF_SERVER)


def may_elsewhere(error: Unavailable) -> bool:
    """Whether another server may answer: neither was the time over, nor the queue full."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, asyncpg.QueryCanceledError)


class _Connection:
    """A connection that has prepared every statement."""

    __slots__ = ("_connection", "close", "is_closed", "statements", "terminate")

    def __init__(
        self, connection: asyncpg.Connection, statements: dict[str, PreparedStatement]
    ) -> None:
        self._connection = connection
        self.statements = statements
        # Called often enough to be spared a call in between.
        self.is_closed = connection.is_closed
        self.terminate = connection.terminate
        self.close = connection.close


class PostgresDatabase(Database):
    """A pool in which every connection has prepared every statement.

    Nothing in a session is ever changed, so nothing is reset between two statements.
    """

    def __init__(self, pool: Pool[_Connection]) -> None:
        self.load = self._pool = pool

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement."""
        slot = None
        try:
            slot = await self._pool.take()
            try:
                found: Sequence[Row] = await slot.connection.statements[statement].fetch(*args)
                return found
            except _USELESS as error:
                slot.connection.terminate()
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    # Reads would go on at a standby, or at a primary of before.
                    self._pool.leave()
                raise
            finally:
                self._pool.give_back(slot)
        except asyncpg.InvalidCachedStatementError:
            # A migration changed the tables, and nothing was run: a new connection knows them.
            return await self.fetch(statement, *args)
        except ValueError:
            # An argument that does not fit its type is our mistake, though asyncpg
            # counts it among the errors of its interface.
            raise
        except asyncpg.UniqueViolationError as error:
            raise KeyTaken from error
        except (*_UNAVAILABLE, asyncpg.UndefinedTableError) as error:
            # It was there when the statement was prepared: a node of a cluster does not have the
            # new shards of dialogs that are written anew, for a moment.
            unavailable = self._pool.unavailable(error)
            was_undone = isinstance(error, asyncpg.UndefinedTableError)
            unavailable.was_run = slot is not None and not was_undone
            raise unavailable from error

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        await self._pool.close()

    def terminate(self) -> None:
        """Cut every connection; what is under way fails."""
        self._pool.terminate()


async def open_database(
    url: str,
    databases: Sequence[str],
    settings: Settings,
    *,
    wait_s: float = 0,
    lost: Callable[[], None] | None = None,
) -> PostgresDatabase:
    """A pool whose every connection has every statement prepared: a typo fails the start.

    `databases` names whose statements it runs: `main`, `dialogs` or both. For `wait_s` seconds
    a database that does not answer yet is asked again. Raises errors.Unavailable after that, and
    asyncpg.PostgresError for a statement that the schema does not fit. If `lost` is given, a
    connection that is gone is not replaced: instead of that it is called.
    """
    statements: dict[str, str] = {}
    for database in databases:
        statements |= queries.load("postgres", database)

    # What nobody waits for any more is ended by the server, too.
    timeout_ms = settings.database_timeout_s * 1000
    limit = f"SET statement_timeout = {int(timeout_ms)}; {_PLAN_ONCE}" + _NODES_IN_TIME.format(
        # The least that it takes is 10.
        ms=max(10, int(timeout_ms * _NODE_SHARE))
    )
    is_full = False

    async def connect_and_prepare() -> _Connection:
        if is_full and lost is not None:
            lost()
            pool.terminate()
            raise ConnectionResetError("a connection that is not replaced was lost")
        connection = await _connect_to_any(
            url,
            timeout=settings.database_timeout_s,
            statement_cache_size=0,
            server_settings=SERVER_SETTINGS,
        )
        try:
            async with asyncio.timeout(settings.database_timeout_s):
                await connection.execute(_SHARDS_SHOWN)
                prepared = {
                    name: await connection.prepare(text, name=name)
                    for name, text in statements.items()
                }
                # It also ends the transaction that preparing leaves open, with locks on every
                # table. Not earlier: asyncpg's own look at the types may take long on a cluster.
                await connection.execute(limit)
        except BaseException:
            # A server that hangs would not answer a good-bye either.
            connection.terminate()
            raise
        return _Connection(connection, prepared)

    pool = Pool(
        connect_and_prepare,
        size=settings.database_pool_size,
        waiting_max=settings.database_queue_max,
        timeout_s=settings.database_timeout_s,
    )
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            await pool.fill()
            is_full = True
            return PostgresDatabase(pool)
        except ValueError as error:
            raise _not_a_url(error) from None
        except _UNAVAILABLE as error:
            if asyncio.get_running_loop().time() >= deadline:
                pool.terminate()
                raise Unavailable(f"The database does not answer: {error}") from error
            await asyncio.sleep(_START_RETRY_S)
        except BaseException:
            pool.terminate()
            raise


def each_host(url: str) -> list[str]:
    """The URL of each host of one that names several. Raises ValueError."""
    parts = urlsplit(url)
    who, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [parts._replace(netloc=f"{who}{at}{host}").geturl() for host in hosts.split(",")]
    start, _, _ = url.partition("?")
    query = parse_qs(parts.query)
    lists = {name: query[name][0].split(",") for name in ("host", "port") if name in query}
    if len(lists.get("host", "")) < 2:
        return [url]
    servers = [
        {name: values[n % len(values)] for name, values in lists.items()}
        for n in range(len(lists["host"]))
    ]
    return [f"{start}?{urlencode(query | server, doseq=True)}" for server in servers]


async def _connect_to_any(url: str, *, timeout: float, **options: Any) -> asyncpg.Connection:  # noqa: ASYNC109 (asyncpg's own)
    """The first host that answers as `target_session_attrs` wants it.

    asyncpg would give all of the time to the first one, and never reach one behind a host that is
    silent, as machines are that have lost their power.
    """
    urls.need("the database's URL", url, urls.DATABASES)
    hosts = [(one, options | unsaid(one)) for one in each_host(url)]
    each_s = timeout / len(hosts)
    for one, arguments in hosts[:-1]:
        with suppress(*_UNAVAILABLE):
            return await asyncpg.connect(one, timeout=each_s, **arguments)
    one, arguments = hosts[-1]
    return await asyncpg.connect(one, timeout=each_s, **arguments)


async def _connect_to_coordinator(hosts: Sequence[str]) -> asyncpg.Connection:
    """The first host that answers and is no worker of a cluster: only it can change tables."""
    error: Exception = ConnectionError("workers answer, but no coordinator")
    for number, one in enumerate(hosts):
        try:
            found = await _connect_to_any(
                one, timeout=_CONNECT_S / len(hosts), server_settings=SERVER_SETTINGS
            )
        except _UNAVAILABLE as failed:
            error = failed
            continue
        if not await found.fetchval(_IS_CITUS):
            return found
        # Group 0 is the coordinator's, and that of a server that belongs to no cluster.
        group, has_nodes = await found.fetchrow(_OF_CLUSTER)
        if group == 0 and (number == 0 or has_nodes):
            return found
        await found.close()
    raise error


def unsaid(url: str) -> dict[str, Any]:
    """What asyncpg would take from PGPORT and its like, though a URL that says where is enough.

    From the environment come only what has no default, and what makes a connection safer: user,
    password and database where the URL has none, and PGSSLMODE and its like.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = unquote(parts.netloc.rpartition("@")[2]) or query.get("host", [""])[0]
    if not host:
        return {}
    given: dict[str, Any] = {}
    if "port" not in query and not _PORT.search(host):
        given["port"] = 5432
    if "target_session_attrs" not in query:
        given["target_session_attrs"] = "any"
    if "gsslib" not in query:
        given["gsslib"] = "gssapi"
    # TLS is not spoken on a unix socket, but the files of it would be looked for.
    if host.startswith("/") and not query.keys() & {"sslmode", "sslnegotiation"}:
        given |= {"ssl": False, "direct_tls": False}
    return given


def _not_a_url(error: ValueError) -> SettingsError:
    """asyncpg's word for a URL that it cannot read; the URL itself may hold a password."""
    return SettingsError(f"the database's URL is not acceptable: {type(error).__name__}")


async def connect(url: str) -> asyncpg.Connection:
    """One connection for the operator's tools: migrations, COPY. Of a cluster: to its coordinator.

    Raises SettingsError for a URL that is none, errors.Unavailable without an answer.
    """
    try:
        hosts = each_host(url)
        if len(hosts) > 1:
            return await _connect_to_coordinator(hosts)
        return await _connect_to_any(url, timeout=_CONNECT_S, server_settings=SERVER_SETTINGS)
    except ValueError as error:
        raise _not_a_url(error) from None
    except _UNAVAILABLE as error:
        raise Unavailable(f"The database does not answer: {error}") from error
