"""compose/postgres/roles.sh: the service's user owns its database, and is nothing more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from tests.conftest import migrate

DATABASE = "of_before"
ODD = 'it\'s a "p@ss\\\\word" #/:'


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A volume of before: whom the server was made by is the service's user."""
    with PostgresServer() as server:
        migrate(server, DATABASE)
        yield server


def roles(server: PostgresServer, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script, as compose runs it."""
    return subprocess.run(
        ["bash", ROOT / "compose/postgres/roles.sh"],
        env={
            "PATH": f"{server.program('psql').parent}:{os.environ['PATH']}",
            "PGHOST": str(server.home.sockets),
            "SERVICE_USER": "hlfast",
            "SERVICE_PASSWORD": ODD,
            "SERVICE_DATABASE": DATABASE,
            "EXPORTER_PASSWORD": "",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def ask(server: PostgresServer, user: str, statement: str) -> str:
    """What a user is answered, or why not."""
    done = subprocess.run(
        [server.program("psql"), "-XqAt", "-U", user, "-d", DATABASE, "-c", statement],
        env={"PGHOST": str(server.home.sockets)},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


_OTHERS = """
SELECT count(*) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relowner <> 'hlfast'::regrole
"""
_ATTRIBUTES = """
SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
FROM pg_roles WHERE rolname =
"""


def test_a_volume_of_before(server: PostgresServer) -> None:
    done = roles(server)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hlfast was the superuser; it is postgres now" in done.stdout
    # Again, with what has come since, and with a table that an administrator has made.
    ask(server, "postgres", "CREATE TABLE public.made_by_hand (id serial)")
    done = roles(server, EXPORTER_PASSWORD="another word")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ask(server, "hlfast", _ATTRIBUTES + "'hlfast'") == "f"
    assert ask(server, "hlfast", _OTHERS) == "0"
    assert ask(server, "postgres", "SELECT count(*) FROM pg_roles WHERE rolsuper") == "1"
    superusers = "SELECT rolpassword IS NULL FROM pg_authid WHERE rolsuper"
    assert ask(server, "postgres", superusers) == "t"
    # The next migration is nobody's business but the service's.
    altering = 'ALTER TABLE "user" ADD COLUMN next int; ALTER TABLE "user" DROP COLUMN next'
    assert ask(server, "hlfast", altering) == ""
    for denied in (
        "CREATE DATABASE another",
        "CREATE ROLE another",
        "SELECT * FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET fsync = off",
    ):
        assert "ermission denied" in ask(server, "hlfast", denied), denied


def test_the_exporter_only_monitors(server: PostgresServer) -> None:
    assert roles(server, EXPORTER_PASSWORD="a word").returncode == 0
    assert ask(server, "exporter", _ATTRIBUTES + "'exporter'") == "f"
    # What only those see who may monitor: other users' statements.
    shown = "SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>'"
    assert ask(server, "exporter", shown) == "0"
    assert int(ask(server, "exporter", "SELECT count(*) FROM pg_stat_database")) > 0
    for denied in ('SELECT * FROM "user"', "CREATE TABLE another ()", 'DELETE FROM "post"'):
        assert "ermission denied" in ask(server, "exporter", denied), denied


def test_the_superusers_name_is_no_services(server: PostgresServer) -> None:
    done = roles(server, SERVICE_USER="postgres")
    assert done.returncode == 1
    assert "postgres is the superuser's name" in done.stderr
