"""What `hlfast check` asks of MySQL and MariaDB."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from hl_utils.check import schema
from hl_utils.check.databases import ENCODING, Seen, Watched
from hl_utils.check.finding import (
    DURABILITY_OFF,
    READ_ONLY,
    VERSION_OLD,
    Answers,
    Finding,
    Kind,
    skew,
)
from hlfast.db import mysql
from hlfast.settings import SettingsError

TRIGGERS_REFUSED = Kind(
    "triggers-refused",
    "error",
    "`hlfast tables` can't make the triggers by which the response cache sees every change",
    "SET GLOBAL log_bin_trust_function_creators = 1, or let a user with SUPER run it",
)
KINDS = (TRIGGERS_REFUSED,)

_DIALECT = "mysql"
_ENCODING = "utf8mb4"
_SAFE = {"innodb_flush_log_at_trx_commit": 1, "innodb_doublewrite": 1, "sync_binlog": 1}


async def look(watched: Watched) -> Seen:
    """Everything about one database. Raises errors.Unavailable, SettingsError, and aiomysql's."""
    try:
        connection = await mysql.connect(watched.url)
    except SettingsError as error:
        # It has looked what server that is.
        if "is needed" not in str(error):
            raise
        return Seen([VERSION_OLD.found(watched.subject, str(error))], watched)
    try:
        return await _look(connection, watched)
    finally:
        connection.close()


async def _look(connection: Any, watched: Watched) -> Seen:
    subject = watched.subject
    asked = partial(ask, connection)
    before_s = time.time()
    clock = await asked("clock")
    answers: list[Finding | None] = [skew(subject, before_s, float(clock[0]["now_s"]), time.time())]
    server = (await asked("server"))[0]
    answers += _server(subject, server)
    answers += await schema.look(
        subject, _DIALECT, watched.databases, asked, has_ledger=bool(server["has_ledger"])
    )
    answers.append(_refused(watched, server, await asked("triggers")))
    bounds = (server["connections_max"], server["user_connections_max"])
    return Seen(
        answers,
        watched,
        server=server["server"],
        connections_max=min(one for one in bounds if one > 0),
    )


async def ask(connection: Any, name: str) -> Sequence[Any]:
    """The rows of a statement of sql/mysql/checks/."""
    return await mysql.query(connection, schema.statement(_DIALECT, name))


def _refused(watched: Watched, server: Any, triggers: Sequence[Any]) -> Finding | None:
    """Whether triggers that are still to be made can't be."""
    schemas = schema.manifest(_DIALECT)
    wanted = {name for database in watched.databases for name in schemas[database].triggers}
    is_free = not server["log_bin"] or server["are_triggers_trusted"]
    return TRIGGERS_REFUSED.unless(
        bool(is_free or wanted <= {f"{row['table_name']}.{row['name']}" for row in triggers}),
        watched.subject,
        "log_bin_trust_function_creators = 0 beside a binary log",
    )


def _server(subject: str, server: Any) -> Answers:
    unsafe = [
        f"{name} = {server[name]}"
        for name, safe in _SAFE.items()
        if server[name] != safe and (name != "sync_binlog" or server["log_bin"])
    ]
    encoding = server["encoding"]
    return [
        ENCODING.unless(
            encoding == _ENCODING, subject, f"its character set is {encoding}, not {_ENCODING}"
        ),
        DURABILITY_OFF.unless(not unsafe, subject, ", ".join(unsafe)),
        READ_ONLY.unless(not server["is_read_only"], subject, "read_only = 1"),
    ]
