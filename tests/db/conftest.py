"""Databases of the tests of statements."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import TEMPLATE, new_database
from tests.servers import ROOT, PostgresServer


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
        [sys.executable, "-m", "hlfast", "seed", *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return url
