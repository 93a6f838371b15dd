"""MySQL and MariaDB through aiomysql: the only door to them.

aiomysql prepares nothing on the server: each statement goes out as text with its arguments in it
(see mysql_text.py), is parsed and planned anew each time, and its rows come back as text.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any

import aiomysql
from pymysql.constants import COMMAND, ER, FIELD_TYPE
from pymysql.converters import decoders

from hlfast import codec
from hlfast.db import queries
from hlfast.db.database import Database, KeyTaken, Row
from hlfast.db.mysql_answer import Answer, AnswerReader, Columns, Converters
from hlfast.db.mysql_text import Statement, text_literal
from hlfast.db.mysql_url import connect_arguments
from hlfast.db.pool import Pool
from hlfast.errors import Unavailable
from hlfast.settings import Settings, SettingsError

# What the SQL of this project needs: JSON_TABLE, CHECK, and AUTO_INCREMENT that a restart does not
# set back.
VERSION_MIN = {"MySQL": (8, 0, 16), "MariaDB": (10, 6, 0)}
# Seconds between attempts while the database is not there yet at start.
_START_RETRY_S = 0.2
# Longest wait for a connection of the operator's tools.
_CONNECT_TIMEOUT_S = 60.0
# A deadlock's victim was rolled back whole: it tries so often, after a pause of chance.
_ATTEMPTS_MAX = 8
_RETRY_PAUSE_S = 0.01

# Columns of which the protocol does not tell the type: BOOLEAN is a small number there, and a list
# is text in JSON.
_BY_NAME: Converters = {
    "created": b"1".__eq__,
    "disabled": b"1".__eq__,
    "is_superuser": b"1".__eq__,
    "read": b"1".__eq__,
    "after_users": codec.decode,
    "after_ids": codec.decode,
}
_DECODERS = decoders | {
    FIELD_TYPE.DATE: date.fromisoformat,
    # Sessions are in UTC.
    FIELD_TYPE.DATETIME: lambda text: datetime.fromisoformat(text + "+00:00"),
}


def _from_bytes(convert: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda raw: convert(raw.decode())


# Numbers are read from bytes as well as from text.
_BY_TYPE: Converters = {
    kind: convert if convert in (int, float) else _from_bytes(convert)
    for kind, convert in _DECODERS.items()
    if isinstance(kind, int)
}

SESSION = """
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', group_concat_max_len = 4194304
"""

# The database went away. An InterfaceError is a connection that closed under our hands, an
# InternalError one whose packets are out of order.
_UNAVAILABLE = (OSError, TimeoutError, aiomysql.InterfaceError, aiomysql.InternalError)
# Errors of the server, by number, that say "not now".
_UNAVAILABLE_CODES = {
    ER.CON_COUNT_ERROR,
    ER.DBACCESS_DENIED_ERROR,
    ER.ACCESS_DENIED_ERROR,
    ER.BAD_DB_ERROR,
    ER.SERVER_SHUTDOWN,
    ER.DISK_FULL,
    ER.RECORD_FILE_FULL,
    ER.OUT_OF_RESOURCES,
    ER.TOO_MANY_USER_CONNECTIONS,
    ER.LOCK_WAIT_TIMEOUT,
    ER.LOCK_TABLE_FULL,
    ER.LOCK_DEADLOCK,
    ER.OPTION_PREVENTS_STATEMENT,
    ER.QUERY_INTERRUPTED,
    1792,  # a transaction that only reads
    1836,  # read only
    1927,  # MariaDB: the connection was killed
    1969,  # MariaDB: max_statement_time
    3024,  # MySQL: max_execution_time
}
# Of a server that was a primary, and may answer reads for as long as one is connected.
_READ_ONLY_CODES = {ER.OPTION_PREVENTS_STATEMENT, 1792, 1836}
# The client's own begin here: no connection, or it was lost.
_CLIENT_CODES = range(2000, 3000)


def _is_unavailable(error: Exception) -> bool:
    if isinstance(error, aiomysql.OperationalError):
        code = _code(error)
        return code in _UNAVAILABLE_CODES or code in _CLIENT_CODES
    return isinstance(error, _UNAVAILABLE)


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


class _Connection:
    """What the pool wants to know of a connection of aiomysql."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire

    def is_closed(self) -> bool:
        """Whether the server has hung up, as far as is known here."""
        reader = self.wire._reader
        return self.wire.closed or reader.eof_received or reader.exception() is not None

    def terminate(self) -> None:
        """Cut it: what is still to be sent is dropped."""
        if not self.wire.closed:
            self.wire._writer.transport.abort()
        self.wire.close()

    async def close(self) -> None:
        """Say good-bye to the server."""
        await self.wire.ensure_closed()


class MysqlDatabase(Database):
    """A pool of connections of its own: aiomysql's hands out what has been cancelled or lost."""

    def __init__(self, pool: Pool[_Connection], statements: Mapping[str, Statement]) -> None:
        self.load = self._pool = pool
        self._statements = statements
        self._columns: dict[str, Columns] = {}

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement."""
        text = self._statements[statement].with_arguments(args)
        attempt = 1
        while True:
            try:
                return await self._run(statement, text)
            except Exception as error:
                if _code(error) == ER.DUP_ENTRY:
                    raise KeyTaken from error
                if _code(error) != ER.LOCK_DEADLOCK or attempt == _ATTEMPTS_MAX:
                    if _is_unavailable(error):
                        raise self._pool.unavailable(error) from error
                    raise
            await asyncio.sleep(random.uniform(0, attempt * _RETRY_PAUSE_S))  # noqa: S311
            attempt += 1

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        await self._pool.close()

    async def _run(self, statement: str, text: str) -> Sequence[Row]:
        slot = await self._pool.take()
        try:
            known = self._columns.get(statement)
            columns, rows = await answer(slot.connection.wire, text, known)
            if columns is not None:
                self._columns[statement] = columns
            return rows
        except aiomysql.MySQLError as error:
            # The server refused and waits for more, unless the connection is gone.
            if _code(error) in _READ_ONLY_CODES:
                slot.connection.terminate()
                self._pool.leave()
            raise
        except BaseException:
            # Its answer is still to come, or part of it.
            slot.connection.terminate()
            raise
        finally:
            self._pool.give_back(slot)


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]  # it has no types
    async def _show_warnings(self, connection: Any) -> None:
        """Not asked for: a round trip, and what is wrong is an error in strict mode."""


async def query(connection: Any, text: str) -> Sequence[Row]:
    """The rows of a statement, or those that a procedure ends with."""
    return (await answer(connection, text)).rows


async def answer(connection: Any, text: str, known: Columns | None = None) -> Answer:
    """The answer to a statement. `known`: the columns of the statement's last answer."""
    # Taken before, because a connection that is cut while the answer comes has none any more.
    reader = AnswerReader(connection._reader, _BY_TYPE, _BY_NAME)
    # Encoded here, because aiomysql lets through what is no UTF-8.
    await connection._execute_command(COMMAND.COM_QUERY, text.encode())
    try:
        return await reader.read(known)
    except aiomysql.OperationalError as error:
        if _code(error) in _CLIENT_CODES:
            connection.close()
        raise


async def _check_server(connection: Any) -> None:
    """Raises SettingsError for a server that will not do."""
    ((text, innodb),) = await query(connection, _SERVER)
    name = "MariaDB" if is_mariadb(connection) else "MySQL"
    wanted = VERSION_MIN[name]
    if tuple(map(int, re.findall(r"\d+", text)[:3])) < wanted:
        least = ".".join(map(str, wanted))
        raise SettingsError(f"the database is {name} {text}: {least} or newer is needed")
    if not innodb:
        raise SettingsError(f"the database is {name} without InnoDB, which is needed")


_SERVER = """
SELECT VERSION(), COUNT(*) FROM information_schema.engines
WHERE engine = 'InnoDB' AND support IN ('YES', 'DEFAULT')
"""


def is_mariadb(connection: Any) -> bool:
    """Whether the server is MariaDB, and not MySQL."""
    return "mariadb" in connection.get_server_info().lower()


async def _check(connection: Any, statement: Statement) -> None:
    """Have a statement parsed against the schema; raises aiomysql.MySQLError."""
    # A list of one is written as the one is.
    text = statement.with_arguments([[1]] * statement.parameters)
    called = _CALL.fullmatch(text)
    if called is None:
        await query(connection, f"PREPARE checked FROM {text_literal(text)}")
        await query(connection, "DEALLOCATE PREPARE checked")
        return
    # The server looks for a procedure only when it is called.
    given = _INNER_PARENTHESES.sub("", called["arguments"]).count(",") + 1
    wanted = await query(connection, _PARAMETERS_OF + text_literal(called["name"]))
    if wanted[0][0] != given:
        raise aiomysql.ProgrammingError(
            ER.SP_DOES_NOT_EXIST, f"no procedure {called['name']} of {given} parameters"
        )


_CALL = re.compile(r"CALL (?P<name>\w+)\((?P<arguments>.*)\)", re.DOTALL)
_INNER_PARENTHESES = re.compile(r"\([^()]*\)")
_PARAMETERS_OF = """
SELECT COUNT(*) FROM information_schema.parameters
WHERE specific_schema = DATABASE() AND routine_type = 'PROCEDURE' AND specific_name = """


async def open_database(
    url: str, databases: Sequence[str], settings: Settings, *, wait_s: float = 0
) -> MysqlDatabase:
    """A pool, after the server has parsed every statement: a typo fails the start.

    `databases` names whose statements it runs: `main`, `dialogs` or both. For `wait_s` seconds
    a database that does not answer yet is asked again. Raises errors.Unavailable after that,
    SettingsError for a URL or a server that will not do, and aiomysql.MySQLError for a statement
    that the schema does not fit.
    """
    statements: dict[str, Statement] = {}
    for database in databases:
        found = queries.load("mysql", database)
        statements |= {name: Statement(text) for name, text in found.items()}
    arguments = connect_arguments(url)
    timeout_s = settings.database_timeout_s

    async def connect_with_bounds() -> _Connection:
        async with asyncio.timeout(timeout_s):
            return _Connection(await _open_bounded(arguments, timeout_s))

    pool = Pool(
        connect_with_bounds,
        size=settings.database_pool_size,
        waiting_max=settings.database_queue_max,
        timeout_s=timeout_s,
    )
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            await pool.fill()
            await _check_all(pool, statements.values())
            return MysqlDatabase(pool, statements)
        except BaseException as error:
            if not isinstance(error, Exception) or not _is_unavailable(error):
                pool.terminate()
                raise
            if asyncio.get_running_loop().time() >= deadline:
                pool.terminate()
                raise Unavailable(f"The database does not answer: {error}") from error
            await asyncio.sleep(_START_RETRY_S)


async def _check_all(pool: Pool[_Connection], statements: Iterable[Statement]) -> None:
    """Let the server parse every statement, with a deadline for each."""
    checks: list[Callable[[Any], Awaitable[None]]] = [_check_server]
    checks += (partial(_check, statement=statement) for statement in statements)
    for check in checks:
        slot = await pool.take()
        try:
            await check(slot.connection.wire)
        finally:
            pool.give_back(slot)


async def _open_bounded(arguments: Mapping[str, Any], timeout_s: float) -> Any:
    """A connection on which a statement that nobody waits for any more ends by itself."""
    connection = await _open_connection(arguments)
    statement_limit = (
        f"max_statement_time = {timeout_s}"
        if is_mariadb(connection)
        else f"max_execution_time = {int(timeout_s * 1000)}"
    )
    lock_wait_s = max(1, int(timeout_s / 2))
    try:
        await query(
            connection, f"SET SESSION {statement_limit}, innodb_lock_wait_timeout = {lock_wait_s}"
        )
    except BaseException:
        connection.close()
        raise
    return connection


async def connect(url: str) -> Any:
    """One connection for the operator's tools: migrations, LOAD DATA LOCAL INFILE.

    Raises SettingsError for a URL or a server that will not do, errors.Unavailable without an
    answer.
    """
    arguments = connect_arguments(url) | {"local_infile": True}
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            connection = await _open_connection(arguments)
            await _check_server(connection)
            return connection
    except Exception as error:
        if _is_unavailable(error):
            raise Unavailable(f"The database does not answer: {error}") from error
        raise


async def _open_connection(arguments: Mapping[str, Any]) -> Any:
    try:
        connection = await aiomysql.connect(**arguments, conv=_DECODERS, cursorclass=_Cursor)
    except RuntimeError as error:
        # A way to log in for which a library is missing.
        raise SettingsError(f"the database cannot be entered: {error}") from None
    try:
        await query(connection, SESSION)
    except BaseException:
        connection.close()
        raise
    return connection
