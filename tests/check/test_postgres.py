"""What `hlfast check` finds about PostgreSQL: broken, it is found; sound, it is silent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_utils.check import postgres, run
from hl_utils.check.databases import Processes
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ENVIRONMENT
from hl_utils.servers.sql import migrate
from hlfast.db import queries
from hlfast.settings import Settings
from tests.check.command import codes, found, wrong
from tests.conftest import TEMPLATE, new_database

DATABASES = (queries.MAIN, queries.DIALOGS)


def sql(server: PostgresServer, url: str, *statements: str) -> None:
    """Run statements in a database; each for itself."""
    name = url.split("/")[3].partition("?")[0]
    for statement in statements:
        server.psql(name, "-c", statement)


@pytest.fixture
def own(sound: dict[str, str], postgres_url: str) -> dict[str, str]:
    """A sound environment with a database that is the test's own."""
    return sound | {"DATABASE_URL": postgres_url}


def test_a_sound_stack_is_silent(sound: dict[str, str]) -> None:
    assert found(sound) == []


def test_dialogs_apart_are_silent_too(
    sound: dict[str, str], postgres_server: PostgresServer
) -> None:
    apart = {"DIALOGS_DATABASE_URL": new_database(postgres_server, TEMPLATE)}
    assert found(sound | apart) == []


@pytest.fixture(scope="module")
def careless_server(place: Path) -> Iterator[PostgresServer]:
    """A server with everything set wrong that can be; `migrated` has the tables."""
    # An extension of that name without anything in it: enough for a server without Citus to say
    # that it has it.
    extensions = place / "extensions"
    (extensions / "extension").mkdir(mode=0o755, parents=True)
    (extensions / "extension" / "citus.control").write_text("default_version = '1'\n")
    (extensions / "extension" / "citus--1.sql").write_text("")
    with PostgresServer(
        fsync="off",
        full_page_writes="off",
        synchronous_commit="off",
        wal_level="minimal",
        max_wal_senders=0,
        max_connections=18,
        extension_control_path=f"$system:{extensions}",
    ) as server:
        migrate(server, TEMPLATE)
        yield server


def test_settings_that_lose_what_was_acknowledged(
    sound: dict[str, str], careless_server: PostgresServer
) -> None:
    findings = found(sound | {"DATABASE_URL": careless_server.url(TEMPLATE)})
    # 18 connections less 3 that are reserved, and 8 for the API and 8 for the websocket node.
    assert codes(findings) == ["connections database", "durability-off database"]
    for finding in findings:
        if finding["code"] == "durability-off":
            for name in ("fsync = off", "full_page_writes = off", "synchronous_commit = off"):
                assert name in finding["what"]
        else:
            assert "16 connections" in finding["what"]
            assert "15 for them" in finding["what"]


def test_fewer_connections_are_enough_for_smaller_pools(
    sound: dict[str, str], careless_server: PostgresServer
) -> None:
    few = sound | {
        "DATABASE_URL": careless_server.url(TEMPLATE),
        "HLFAST_DATABASE_POOL_SIZE": "3",
    }
    assert wrong(few) == ["durability-off database"]
    assert "connections database" in wrong(few | {"HLFAST_WORKERS": "5"})
    assert "connections database" in wrong(few, "--apis", "5")
    assert "connections database" in wrong(few, "--websockets", "5")
    assert "connections database" not in wrong(few, "--apis", "3", "--websockets", "2")


def test_two_databases_of_one_server_share_its_connections(
    sound: dict[str, str], postgres_server: PostgresServer
) -> None:
    # 197 are left: one takes 160, both take 240.
    wide = sound | {"HLFAST_DATABASE_POOL_SIZE": "80"}
    assert found(wide) == []
    apart = {"DIALOGS_DATABASE_URL": new_database(postgres_server, TEMPLATE)}
    assert wrong(wide | apart) == ["connections database, dialogs"]


def test_the_bounds_of_a_database_and_of_a_role_count(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    sql(postgres_server, postgres_url, "CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 10")
    name = postgres_url.split("/")[3].partition("?")[0]
    few = postgres_url.replace("//hlfast@", "//few@")
    assert wrong(own | {"DATABASE_URL": few}) == ["connections database"]
    sql(postgres_server, postgres_url, f"ALTER DATABASE {name} CONNECTION LIMIT 15")
    assert wrong(own) == ["connections database"]
    sql(postgres_server, postgres_url, f"ALTER DATABASE {name} CONNECTION LIMIT 16")
    assert found(own) == []


def test_the_level_of_the_log(sound: dict[str, str], careless_server: PostgresServer) -> None:
    minimal = sound | {"DATABASE_URL": careless_server.url(TEMPLATE)}
    assert "wal-level database" not in wrong(minimal)
    replicas = {"DATABASE_REPLICA_URLS": sound["DATABASE_URL"]}
    assert "wal-level database" in wrong(minimal | replicas)
    sql(careless_server, minimal["DATABASE_URL"], "CREATE EXTENSION citus")
    assert "wal-level database" in wrong(minimal)


def test_shards_can_be_moved_with_a_logical_log(
    sound: dict[str, str], careless_server: PostgresServer
) -> None:
    path = careless_server.psql("postgres", "-c", "SHOW extension_control_path").strip()
    settings: dict[str, str | int] = {"wal_level": "logical", "extension_control_path": path}
    with PostgresServer(**settings) as server:
        url = migrate(server, TEMPLATE)
        sql(server, url, "CREATE EXTENSION citus")
        assert found(sound | {"DATABASE_URL": url}) == []


def test_migrations(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    names = [m.name for database in DATABASES for m in queries.migrations("postgres", database)]
    empty = {"DATABASE_URL": new_database(postgres_server)}
    assert wrong(own | empty) == ["migration-missing database"] * len(names)
    dialogs = {"DIALOGS_DATABASE_URL": new_database(postgres_server)}
    apart = queries.migrations("postgres", queries.DIALOGS)
    assert wrong(own | dialogs) == ["migration-missing dialogs"] * len(apart)
    sql(
        postgres_server,
        postgres_url,
        f"UPDATE migration SET checksum = 'another' WHERE name = '{names[0]}'",
        "INSERT INTO migration (name, checksum) VALUES ('main/9999_tomorrow', 'theirs')",
    )
    findings = found(own)
    assert codes(findings) == ["migration-changed database", "migration-unknown database"]
    assert [one["level"] for one in findings] == ["error", "warning"]
    assert names[0] in findings[0]["what"]
    assert "main/9999_tomorrow" in findings[1]["what"]


def test_indexes_that_are_missing_or_others(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    sql(
        postgres_server,
        postgres_url,
        "DROP INDEX user_first",
        "DROP INDEX dialog_by_low",
        'ALTER TABLE "user" DROP CONSTRAINT user_username_key_key',
        # The same name is not the same index.
        "DROP INDEX post_author",
        "CREATE INDEX post_author ON post (author_id)",
        "DROP INDEX post_client",
        "CREATE INDEX post_client ON post (author_id, client_id) WHERE client_id IS NOT NULL",
        # Another name is.
        "ALTER INDEX user_last RENAME TO user_surname",
    )
    findings = found(own)
    assert codes(findings) == ["index-missing database"] * 5
    told = " ".join(one["what"] for one in findings)
    for name in (
        "user_first",
        "dialog_by_low",
        "post_author",
        "post_client",
        "user (username_key)",
    ):
        assert name in told


def test_an_index_that_could_not_be_built(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    post = (
        "INSERT INTO post (author_id, content, privacy, client_id) VALUES (1, 'a', 'public', 'c')"
    )
    sql(postgres_server, postgres_url, "DROP INDEX post_client", post, post)
    with pytest.raises(subprocess.CalledProcessError):  # two posts of one client id
        sql(
            postgres_server,
            postgres_url,
            "CREATE UNIQUE INDEX CONCURRENTLY post_client ON post (author_id, client_id) "
            "WHERE client_id IS NOT NULL",
        )
    assert wrong(own) == ["index-invalid database"]
    sql(postgres_server, postgres_url, "DELETE FROM post WHERE id = 1", "REINDEX INDEX post_client")
    assert found(own) == []


def test_triggers_that_are_missing(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    sql(
        postgres_server,
        postgres_url,
        "DROP TRIGGER post_updated ON post",
        "ALTER TABLE friend DISABLE TRIGGER friend_updated",
        # What a function has made, if the server is no cluster.
        "SELECT message_triggers(false)",
        'DROP TRIGGER user_updated ON "user"',
    )
    findings = found(own)
    assert codes(findings) == ["trigger-missing database"] * 6
    told = {one["what"].partition(" ")[0] for one in findings}
    assert told == {
        "friend.friend_updated",
        "message.message_deleted",
        "message.message_truncated",
        "message.message_updated",
        "post.post_updated",
        "user.user_updated",
    }
    # The list of what is spread, as Citus has it.
    sql(
        postgres_server,
        postgres_url,
        "CREATE TABLE pg_dist_partition AS SELECT 'message'::regclass AS logicalrelid",
    )
    assert {one["what"].partition(".")[0] for one in found(own)} == {"friend", "post", "user"}


def test_encoding_and_collation(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    sql(
        postgres_server,
        postgres_url,
        'ALTER TABLE "user" ALTER COLUMN first_key TYPE text COLLATE "default"',
        "DROP DATABASE IF EXISTS latin",
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
    )
    assert wrong(own) == ["key-collation database"]
    latin = wrong(own | {"DATABASE_URL": postgres_server.url("latin")})
    assert "encoding database" in latin


def test_a_database_that_takes_no_writes(
    own: dict[str, str], postgres_server: PostgresServer, postgres_url: str
) -> None:
    name = postgres_url.split("/")[3].partition("?")[0]
    sql(
        postgres_server,
        postgres_url,
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
    )
    assert wrong(own) == ["read-only database"]


def test_a_server_that_is_too_old(
    sound: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No old server is to be had: so this one is held against a version that is still to come."""
    settings = Settings(
        database_url=sound["DATABASE_URL"],
        redis_url=sound["REDIS_URL"],
        secret=sound["HLFAST_SECRET"],
        connections_max=500,
        ws_connections_max=500,
    )
    assert run.check(settings, Processes(), json=True) == 0
    assert capsys.readouterr().out == "[]\n"
    monkeypatch.setattr(postgres, "VERSION_MIN", (999,))
    assert run.check(settings, Processes(), json=True) == 1
    assert '"version-old"' in capsys.readouterr().out


class Standby(PostgresServer):
    """A standby of another server, through a slot if it is given one."""

    def __init__(self, primary: PostgresServer, slot: str = "") -> None:
        super().__init__(**({"primary_slot_name": slot} if slot else {}))
        self._primary = primary

    def start(self) -> None:
        host = f"host={self._primary.home.sockets} user=hlfast"
        options = ("-D", self.data, "-d", host, "-R", "-c", "fast", "-N")
        subprocess.run(
            [self.program("pg_basebackup"), *options],
            check=True,
            cwd="/",
            env=ENVIRONMENT,
            **self.home.account.spawn,
        )
        super().start()


def test_replicas(sound: dict[str, str]) -> None:
    with PostgresServer() as primary:
        url = migrate(primary, TEMPLATE)
        environment = sound | {"DATABASE_URL": url}
        assert found(environment) == []
        primary.psql("postgres", "-c", "SELECT pg_create_physical_replication_slot('one', true)")
        assert wrong(environment) == ["slot-idle database"]
        with Standby(primary, "one") as standby:
            standby_url = standby.url(TEMPLATE)
            replicated = environment | {"DATABASE_REPLICA_URLS": standby_url}
            assert found(replicated) == []
            assert wrong(sound | {"DATABASE_URL": standby_url}) == ["read-only database"]
            theirs = sound | {"DATABASE_REPLICA_URLS": standby_url}
            assert wrong(theirs) == ["not-standby replica 1"]
        primary.psql("postgres", "-c", "SELECT pg_drop_replication_slot('one')")
        with Standby(primary) as standby:
            replicated = environment | {"DATABASE_REPLICA_URLS": standby.url(TEMPLATE)}
            assert wrong(replicated) == ["replica-no-slot database", "replica-no-slot replica 1"]
            # Its primary alone reports it, too.
            assert wrong(environment) == ["replica-no-slot database"]
        # Whoever will be promoted is named in both, as the primary is.
        itself = {"DATABASE_REPLICA_URLS": f"{url}, {url}"}
        assert found(environment | itself) == []
        stranger = {"DATABASE_REPLICA_URLS": sound["DATABASE_URL"]}
        assert wrong(environment | stranger) == ["not-standby replica 1"]
        away = {"DATABASE_REPLICA_URLS": "postgresql://127.0.0.1:1/away"}
        assert wrong(environment | away) == ["unreachable replica 1"]
