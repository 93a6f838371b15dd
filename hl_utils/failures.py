"""What an operator's command fails with, as one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

import aiomysql
import asyncpg
from pymysql.constants import ER

from hlfast.db.migrations import MigrationChanged
from hlfast.errors import HlfastError
from hlfast.settings import Settings, SettingsError

FAILED = 1
INTERRUPTED = 130

_NO_TABLES = "the tables are missing: run `hlfast tables` first"
# MySQL's number for it, and MariaDB's.
_NO_LOCAL_INFILE = (3948, 4166, ER.NOT_ALLOWED_COMMAND)


def reported(command: str, work: Callable[[], int]) -> int:
    """The exit code of the work. A foreseen failure becomes a line on stderr, and 1."""
    try:
        return work()
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError):
        line = _NO_TABLES
    except aiomysql.MySQLError as error:
        line = _line_of(error)
    except (
        HlfastError,
        MigrationChanged,
        SettingsError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        # What PostgreSQL says may have more lines, and the first one tells it.
        line = str(error).partition("\n")[0]
    except OSError as error:
        line = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    except KeyboardInterrupt:
        print(f"{command}: stopped", file=sys.stderr)
        return INTERRUPTED
    print(f"{command}: {line}", file=sys.stderr)
    return FAILED


def _line_of(error: aiomysql.MySQLError) -> str:
    code, text = [*error.args, "", ""][:2]
    if code in (ER.NO_SUCH_TABLE, ER.SP_DOES_NOT_EXIST):
        return _NO_TABLES
    if code == ER.BINLOG_CREATE_ROUTINE_NEED_SUPER:
        return (
            "beside its binary log the server lets only SUPER make triggers: "
            "SET GLOBAL log_bin_trust_function_creators = 1 on it"
        )
    if code in _NO_LOCAL_INFILE:
        return "the server takes no rows from here: SET GLOBAL local_infile = 1 on it meanwhile"
    return str(text or code).partition("\n")[0]


def need_database(settings: Settings) -> None:
    """Raises SettingsError when no database is configured."""
    if not settings.database_url:
        raise SettingsError("no database: set DATABASE_URL, or start one with `bash build.sh up`")
