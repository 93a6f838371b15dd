"""PostgreSQL through asyncpg: the only door to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg

from hlfast.db import queries
from hlfast.db.database import Database, Load, Row
from hlfast.errors import Unavailable
from hlfast.settings import Settings, SettingsError

# Above any number of statements that the project will have: none is ever evicted.
_STATEMENT_CACHE_SIZE = 1024

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
)
# Seconds that the cancellation of a statement may take before its connection is cut.
_CANCEL_TIMEOUT_S = 1.0
# Seconds that the tools wait for a connection.
_CONNECT_S = 60.0
# Seconds between attempts while the database is not there yet at start.
_START_RETRY_S = 0.2

SERVER_SETTINGS = {
    "application_name": "hlfast",
    "timezone": "UTC",
    # Short statements: compiling their plans costs more than running them.
    "jit": "off",
}


async def _keep_as_is(_: asyncpg.Connection) -> None:
    """Nothing in a session is ever changed, so nothing is reset: one round trip saved."""


class PostgresDatabase(Database):
    """A pool in which every connection has prepared every statement."""

    def __init__(self, pool: asyncpg.Pool, statements: Mapping[str, str], bounds: Settings) -> None:
        self._pool = pool
        self._statements = statements
        self._timeout_s = bounds.database_timeout_s
        self._under_way_max = bounds.database_queue_max + bounds.database_pool_size
        self.load = Load(bounds.database_pool_size)
        # The loop holds tasks weakly; without this one could vanish under way.
        self._released: set[asyncio.Task[None]] = set()

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement."""
        load = self.load
        if load.under_way >= self._under_way_max:
            raise Unavailable("Too many requests are waiting for the database.")
        load.under_way += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run(self._statements[statement], args)
        except ValueError:
            # An argument that does not fit its type is our mistake, though asyncpg
            # counts it among the errors of its interface.
            raise
        except _UNAVAILABLE as error:
            raise Unavailable("The database does not answer.") from error
        finally:
            load.under_way -= 1

    async def _run(self, text: str, args: Sequence[Any]) -> Sequence[Row]:
        load = self.load
        if load.under_way <= load.connections:
            connection = await self._pool.acquire()
        else:
            # Only a wait is timed: where a connection is free there is none.
            start = time.perf_counter()
            connection = await self._pool.acquire()
            load.waits += 1
            load.waited_s += time.perf_counter() - start
        try:
            found: Sequence[Row] = await connection.fetch(text, *args)
        except asyncio.CancelledError:
            # A server that hangs does not answer the cancellation either: the connection is
            # given back, or given up, while nobody waits.
            task = asyncio.create_task(self._give_back(connection))
            self._released.add(task)
            task.add_done_callback(self._released.discard)
            raise
        except BaseException as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                # A standby, where the primary was or has yet to be: the next connection finds it.
                connection.terminate()
            await self._pool.release(connection)
            raise
        await self._pool.release(connection)
        return found

    async def _give_back(self, connection: Any) -> None:
        with suppress(*_UNAVAILABLE):
            await self._pool.release(connection, timeout=_CANCEL_TIMEOUT_S)

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

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

    pool: asyncpg.Pool | None = None

    async def connect_unless_lost(url: str, **options: Any) -> asyncpg.Connection:
        if pool is not None and lost is not None:
            lost()
            pool.terminate()
            raise ConnectionResetError("a connection that is not replaced was lost")
        return await _connect_to_any(url, **options)

    async def prepare_all(connection: asyncpg.Connection) -> None:
        try:
            for text in statements.values():
                # Prepares into the statement cache, which `prepare` bypasses, and runs nothing.
                await connection.executemany(text, [])
            # Which leaves a transaction open, with its locks on every table, until the next sync.
            await connection.execute("SELECT")
        except BaseException:
            # The pool would wait for a server that hangs to say good-bye.
            connection.terminate()
            raise

    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=settings.database_pool_size,
                max_size=settings.database_pool_size,
                max_inactive_connection_lifetime=0,
                max_queries=2**31,
                statement_cache_size=_STATEMENT_CACHE_SIZE,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
                server_settings=SERVER_SETTINGS,
                timeout=settings.database_timeout_s,
                connect=connect_unless_lost,
                init=prepare_all,
                reset=_keep_as_is,
            )
            return PostgresDatabase(pool, statements, settings)
        except ValueError as error:
            raise _not_a_url(error) from None
        except _UNAVAILABLE as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable(f"The database does not answer: {error}") from error
            await asyncio.sleep(_START_RETRY_S)


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
    places = [
        {name: values[n % len(values)] for name, values in lists.items()}
        for n in range(len(lists["host"]))
    ]
    return [f"{start}?{urlencode(query | place, doseq=True)}" for place in places]


async def _connect_to_any(url: str, *, timeout: float, **options: Any) -> asyncpg.Connection:  # noqa: ASYNC109 (asyncpg's own)
    """The first host that answers as `target_session_attrs` wants it.

    asyncpg would give all of the time to the first one, and never reach one behind a host that is
    silent, as machines are that have lost their power.
    """
    urls = each_host(url)
    for one in urls[:-1]:
        with suppress(*_UNAVAILABLE):
            return await asyncpg.connect(one, timeout=timeout / len(urls), **options)
    return await asyncpg.connect(urls[-1], timeout=timeout / len(urls), **options)


def _not_a_url(error: ValueError) -> SettingsError:
    """asyncpg's word for a URL that it cannot read; the URL itself may hold a password."""
    return SettingsError(f"the database's URL is not acceptable: {type(error).__name__}")


async def connect(url: str) -> asyncpg.Connection:
    """One connection for the operator's tools: migrations, COPY.

    Raises SettingsError for a URL that is none, errors.Unavailable without an answer.
    """
    try:
        return await _connect_to_any(url, timeout=_CONNECT_S, server_settings=SERVER_SETTINGS)
    except ValueError as error:
        raise _not_a_url(error) from None
    except _UNAVAILABLE as error:
        raise Unavailable(f"The database does not answer: {error}") from error
