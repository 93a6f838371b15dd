"""The embedded stack's database as one file, and the stack made anew from such a file."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hl_utils.embedded.console import FAILED, reported, say, step
from hl_utils.embedded.postgres import CONNECTIONS_MIN, DATABASE, Postgres
from hl_utils.embedded.processes import sweep
from hl_utils.servers import programs
from hl_utils.servers.home import Home, InUse, StackError, locked, rename
from hl_utils.servers.process import ENVIRONMENT
from hlfast.db import migrations
from hlfast.db.postgres import connect
from hlfast.settings import Settings

# Where a backup is restored to, and what was there before, until it is dropped.
_RESTORED, _REPLACED = "restored", "replaced"
_AFTERWARDS = Path(__file__).resolve().parents[2] / "sql" / "postgres" / "restored.sql"
_STOP_S = 10.0
# Of pg_dump's custom format.
_MAGIC = b"PGDMP"
_OF_ONES_OWN = (
    "DATABASE_URL is set: a database of your own is backed up by its own tools, see "
    "hl_utils/README.md, Backup and restore"
)


def backup(settings: Settings, file: Path) -> int:
    """Write the database to a file, while the stack runs or not; the exit code.

    What is committed when it begins is in it. The file has everybody's data: its mode is 0600.
    """
    return reported(lambda: _backup(settings, file))


def restore(settings: Settings, file: Path, *, yes: bool = False) -> int:
    """Replace the database of a stack that is stopped by what a file holds; the exit code.

    Asks first on a terminal, unless `yes`. The old database is there until the new one is whole.
    The event log begins anew, and everybody logs in again.
    """
    return reported(lambda: _restore(settings, file, yes))


def _backup(settings: Settings, file: Path) -> int:
    if settings.database_url:
        raise StackError(_OF_ONES_OWN)
    try:
        with locked(settings.home, create=False) as home:
            asyncio.run(_dump_stopped(home, file))
    except InUse:
        home = Home(settings.home.expanduser().resolve())
        _dump(home, _url_of_running(settings), file)
    say(f"{file} has {file.stat().st_size:,} bytes. To go back to it: bash build.sh restore {file}")
    return 0


async def _dump_stopped(home: Home, file: Path) -> None:
    async with _database_of(home) as postgres:
        _dump(home, postgres.url, file)


def _url_of_running(settings: Settings) -> str:
    """Where the running stack has its database."""
    try:
        return str(json.loads(settings.stack_file.read_text())["database_url"])
    except FileNotFoundError:
        raise StackError("the stack is starting or stopping: try again") from None


def _dump(home: Home, url: str, file: Path) -> None:
    """The file is there whole, or as it was."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with (
        step(f"Backing up to {file}"),
        os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written,
    ):
        try:
            _run(home, url, "pg_dump", "--format=custom", stdout=written.fileno())
            os.fsync(written.fileno())
        except BaseException:
            new.unlink()
            raise
    rename(new, file)


def _restore(settings: Settings, file: Path, yes: bool) -> int:
    if settings.database_url:
        raise StackError(_OF_ONES_OWN)
    _check(file)
    try:
        with locked(settings.home, create=True) as home:
            data = home.data / "postgres"
            if not yes and data.exists() and sys.stdin.isatty():
                answer = input(f"Replace the database in {data} by what {file} has? [y/N] ")
                if answer.strip().lower() not in ("y", "yes"):
                    say("Nothing was changed.")
                    return FAILED
            asyncio.run(_replace(settings, home, file))
    except InUse as error:
        raise StackError(f"{error}: stop it first") from None
    say("Restored. Start it with: bash build.sh up. Everybody logs in again.")
    return 0


async def _replace(settings: Settings, home: Home, file: Path) -> None:
    home.furnish()
    async with _database_of(home) as postgres:
        url = postgres.url.replace(f"/{DATABASE}?", f"/{_RESTORED}?")
        administration = await connect(postgres.url.replace(f"/{DATABASE}?", "/postgres?"))
        try:
            for left in (_RESTORED, _REPLACED):
                await administration.execute(f"DROP DATABASE IF EXISTS {left}")
            await administration.execute(f"CREATE DATABASE {_RESTORED}")
            with step(f"Restoring {file}"), file.open("rb") as read:
                options = ("--no-owner", "--no-acl", "--exit-on-error", "--single-transaction")
                _run(
                    home, url, "pg_restore", f"--dbname={_RESTORED}", *options, stdin=read.fileno()
                )
            with step("Tables: applying migrations"):
                await migrations.apply_all(settings.model_copy(update={"database_url": url}))
            await _run_afterwards(url)
            # Events of before must not follow those of the backup. Gone before the swap: a log
            # that begins anew fits either database.
            shutil.rmtree(home.data / "redis", ignore_errors=True)
            async with administration.transaction():
                await administration.execute(f"ALTER DATABASE {DATABASE} RENAME TO {_REPLACED}")
                await administration.execute(f"ALTER DATABASE {_RESTORED} RENAME TO {DATABASE}")
            await administration.execute(f"DROP DATABASE {_REPLACED}")
        finally:
            await administration.close()


def _check(file: Path) -> None:
    """Raises StackError for a file that is no backup."""
    try:
        with file.open("rb") as read:
            begins = read.read(len(_MAGIC))
    except FileNotFoundError:
        raise StackError(f"there is no file {file}") from None
    if begins != _MAGIC:
        raise StackError(f"{file} is no backup that `bash build.sh backup` has made")


async def _run_afterwards(url: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(_AFTERWARDS.read_text())
    finally:
        await connection.close()


@asynccontextmanager
async def _database_of(home: Home) -> AsyncIterator[Postgres]:
    """The database of a home that nothing runs on, made if there is none."""
    await sweep(home)
    home.furnish()
    postgres = Postgres(home, programs.postgres(home), CONNECTIONS_MIN)
    if postgres.is_new:
        await postgres.create()
    postgres.check()
    await postgres.start()
    try:
        yield postgres
    finally:
        await postgres.stop(_STOP_S)
        shutil.rmtree(home.sockets, ignore_errors=True)


def _run(
    home: Home,
    url: str,
    program: str,
    *options: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> None:
    """One of PostgreSQL's programs on a database. Raises StackError with its last line."""
    parts = urlsplit(url)
    reached = {
        "PGHOST": parse_qs(parts.query)["host"][0],
        "PGUSER": parts.username or "",
        # In no argument, which everybody on the machine can read.
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    done = subprocess.run(
        [programs.postgres(home) / program, *options],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        env=ENVIRONMENT | reached,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise StackError(lines[-1] if lines else f"{program} ended with {done.returncode}")
