"""Databases of the tests of statements."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from hl_utils.servers.sql import name_of
from hlfast.db import queries
from tests.conftest import TEMPLATE, new_database
from tests.db.mysql_pool import STATEMENTS


@pytest.fixture(scope="module")
def module_database_url(postgres_server: PostgresServer) -> str:
    """A fresh database with the tables, for the tests of one file."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="session")
def seeded_database_url(postgres_server: PostgresServer) -> str:
    """A database of 100,000 users, some of them very well known."""
    url = new_database(postgres_server, TEMPLATE)
    options = ["--users", "100000", "--friends", "6", "--posts", "2", "--dialogs", "0.5"]
    subprocess.run(
        [sys.executable, "-m", "hl_utils", "seed", *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    # Once more: what the server looked at of its own accord meanwhile was not seen as settled.
    postgres_server.psql(name_of(url), "-c", "VACUUM friend, post, dialog, message")
    return url


@pytest.fixture(scope="module")
def mysql_url(mariadb_server: MariadbServer) -> str:
    """A MySQL database with the tables, for the tests of one file."""
    return new_database(mariadb_server, TEMPLATE)


@pytest.fixture
def own_statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Statements of the tests' own instead of the project's; a test may add some."""
    own = dict(STATEMENTS)
    monkeypatch.setattr(queries, "load", lambda dialect, database: own)
    return own
