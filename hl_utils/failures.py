"""What an operator's command fails with, as one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

import asyncpg

from hlfast.db.migrations import MigrationChanged
from hlfast.errors import HlfastError
from hlfast.settings import Settings, SettingsError

FAILED = 1
INTERRUPTED = 130


def reported(command: str, work: Callable[[], int]) -> int:
    """The exit code of the work. A foreseen failure becomes a line on stderr, and 1."""
    try:
        return work()
    except asyncpg.UndefinedTableError:
        line = "the tables are missing: run `hlfast tables` first"
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


def need_database(settings: Settings) -> None:
    """Raises SettingsError when no database is configured."""
    if not settings.database_url:
        raise SettingsError("no database: set DATABASE_URL, or start one with `bash build.sh up`")
