"""The schema that `hlfast check` holds databases against is the one that the migrations make."""

from __future__ import annotations

from hl_utils.check import manifest, schema
from hl_utils.servers.sql import SqlServer, rows
from hlfast.db import queries
from tests.check.command import found
from tests.upgrade import before


def test_the_files_are_what_the_migrations_make(database_server: SqlServer) -> None:
    dialect = queries.dialect_of(database_server.url("any"))
    stored = schema.manifest_file(dialect).read_text(encoding="utf-8")
    assert stored == manifest.made(database_server), "run python -m hl_utils.check.manifest"


def test_collations_have_names_that_every_server_knows() -> None:
    """MySQL and MariaDB have other names for most, and other defaults."""
    for dialect, names in (("postgres", {"C"}), ("mysql", {"binary"})):
        schemas = schema.manifest(dialect).values()
        assert {name for one in schemas for name in one.collations.values()} == names


def test_an_upgraded_database_is_as_good_as_a_new_one(
    sound: dict[str, str], database_url: str
) -> None:
    dialect = queries.dialect_of(database_url)
    before.migrate(database_url, queries.MAIN, queries.DIALOGS)
    environment = sound | {"DATABASE_URL": database_url}
    drop = "DROP INDEX post_author" + (" ON post" if dialect == "mysql" else "")
    rows(database_url, drop)
    # What is missing with a migration is not said twice.
    assert schema_codes(environment) == {"migration-missing"}
    before.upgrade(database_url)
    assert schema_codes(environment) == {"index-missing"}
    rows(database_url, "CREATE INDEX any_name ON post (author_id, id)")
    assert schema_codes(environment) == set()


def schema_codes(environment: dict[str, str]) -> set[str]:
    """The codes of what is wrong with the schema; what the server is set to is not looked at."""
    return {one["code"] for one in found(environment)} & {one.code for one in schema.KINDS}
