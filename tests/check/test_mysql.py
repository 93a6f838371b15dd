"""What `hlfast check` finds about MySQL and MariaDB: broken, it is found; sound, it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from hl_utils.check import run
from hl_utils.check.databases import Processes
from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import migrate
from hlfast.db import mysql, queries
from hlfast.settings import Settings
from tests.check.command import codes, found, wrong
from tests.conftest import TEMPLATE, new_database
from tests.hl_utils.test_tables import outcome, start

DATABASES = (queries.MAIN, queries.DIALOGS)
CAREFUL = "SET GLOBAL sync_binlog = 1, innodb_flush_log_at_trx_commit = 1, read_only = 0"


@pytest.fixture(scope="module")
def own_server() -> Iterator[MariadbServer]:
    """One that nobody else is connected to: tests leave it few connections."""
    with MariadbServer() as server:
        migrate(server, TEMPLATE)
        yield server


@pytest.fixture
def careful_server(own_server: MariadbServer) -> Iterator[MariadbServer]:
    """A server that loses nothing, which MariaDB's binary log by default is not."""
    own_server.administer(CAREFUL)
    yield own_server
    own_server.administer(f"{CAREFUL}, max_connections = 200, sync_binlog = 0")


@pytest.fixture
def name(careful_server: MariadbServer) -> str:
    """A fresh database with the tables."""
    return urlsplit(new_database(careful_server, TEMPLATE)).path.removeprefix("/")


@pytest.fixture
def environment(sound: dict[str, str], careful_server: MariadbServer, name: str) -> dict[str, str]:
    """An environment with a database of MariaDB, in which nothing is wrong."""
    return sound | {"DATABASE_URL": careful_server.url(name)}


def test_a_sound_stack_is_silent(
    environment: dict[str, str], postgres_server: PostgresServer
) -> None:
    assert found(environment) == []
    apart = {"DIALOGS_DATABASE_URL": new_database(postgres_server, TEMPLATE)}
    assert found(environment | apart) == []


def test_settings(environment: dict[str, str], careful_server: MariadbServer) -> None:
    careful_server.administer(
        "SET GLOBAL sync_binlog = 0, innodb_flush_log_at_trx_commit = 2, max_connections = 15"
    )
    findings = found(environment)
    assert codes(findings) == ["connections database", "durability-off database"]
    said = " ".join(one["what"] for one in findings)
    assert "sync_binlog = 0" in said
    assert "innodb_flush_log_at_trx_commit = 2" in said
    assert "doublewrite" not in said
    careful_server.administer(f"{CAREFUL}, max_connections = 16")
    assert found(environment) == []
    careful_server.administer("SET GLOBAL read_only = 1")
    assert wrong(environment) == ["read-only database"]


def test_the_bound_of_a_user_counts(
    environment: dict[str, str], careful_server: MariadbServer
) -> None:
    for bound, codes_found in ((15, ["connections database"]), (16, []), (0, [])):
        careful_server.administer(f"ALTER USER hlfast@localhost WITH MAX_USER_CONNECTIONS {bound}")
        assert wrong(environment) == codes_found


def test_migrations(environment: dict[str, str], careful_server: MariadbServer, name: str) -> None:
    names = [m.name for database in DATABASES for m in queries.migrations("mysql", database)]
    empty = {"DATABASE_URL": new_database(careful_server)}
    assert wrong(environment | empty) == ["migration-missing database"] * len(names)
    careful_server.mariadb(
        name,
        f"UPDATE migration SET checksum = 'another' WHERE name = '{names[0]}';"
        "INSERT INTO migration (name, checksum) VALUES ('main/9999_tomorrow', 'theirs')",
    )
    assert wrong(environment) == ["migration-changed database", "migration-unknown database"]


def test_indexes_that_are_missing_or_others(
    environment: dict[str, str], careful_server: MariadbServer, name: str
) -> None:
    careful_server.mariadb(
        name,
        "DROP INDEX user_first ON user; DROP INDEX dialog_low ON dialog;"
        "DROP INDEX user_username_key ON user; CREATE INDEX user_username_key "
        "ON user (username_key); ALTER TABLE post RENAME INDEX post_author TO post_writer",
    )
    assert wrong(environment) == ["index-missing database"] * 3


@pytest.fixture
def distrustful_server(careful_server: MariadbServer) -> Iterator[MariadbServer]:
    """A server that lets nobody but root make triggers, as MySQL 8 is by default."""
    trust = "SET GLOBAL log_bin_trust_function_creators = {}"
    careful_server.administer(trust.format(0))
    yield careful_server
    careful_server.administer(trust.format(1))


def test_triggers_that_are_missing(
    environment: dict[str, str], distrustful_server: MariadbServer, name: str
) -> None:
    # Those that are there need nothing any more.
    assert found(environment) == []
    distrustful_server.administer(
        f"DROP TRIGGER {name}.post_updated; DROP TRIGGER {name}.user_updated"
    )
    assert wrong(environment) == [
        "trigger-missing database",
        "trigger-missing database",
        "triggers-refused database",
    ]


def test_triggers_that_cannot_be_made_are_named(
    environment: dict[str, str], distrustful_server: MariadbServer
) -> None:
    url = new_database(distrustful_server)
    assert "triggers-refused database" in wrong(environment | {"DATABASE_URL": url})
    code, output, complaints = outcome(start("tables", url))
    assert (code, output) == (1, "")
    assert "SET GLOBAL log_bin_trust_function_creators = 1" in complaints
    assert complaints.count("\n") == 1
    # What was made before is not made again.
    distrustful_server.administer("SET GLOBAL log_bin_trust_function_creators = 1")
    code, output, complaints = outcome(start("tables", url))
    assert (code, complaints) == (0, "")
    assert found(environment | {"DATABASE_URL": url}) == []


def test_encoding_and_collation(
    environment: dict[str, str], careful_server: MariadbServer, name: str
) -> None:
    careful_server.mariadb(
        name,
        f"ALTER DATABASE {name} CHARACTER SET latin1;"
        "ALTER TABLE user MODIFY first_key VARCHAR(512) NOT NULL",
    )
    assert wrong(environment) == ["encoding database", "key-collation database"]


def test_a_server_that_is_too_old(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No old server is to be had: so this one is held against a version that is still to come."""
    settings = Settings(
        database_url=environment["DATABASE_URL"],
        redis_url=environment["REDIS_URL"],
        secret=environment["HLFAST_SECRET"],
    )
    monkeypatch.setitem(mysql.VERSION_MIN, "MariaDB", (999, 0, 0))
    assert run.check(settings, Processes(), json=True) == 1
    assert '"version-old"' in capsys.readouterr().out


def test_a_server_that_is_away(environment: dict[str, str]) -> None:
    away = {"DATABASE_URL": "mysql://user:a-password@127.0.0.1:1/away"}
    assert wrong(environment | away) == ["unreachable database"]
