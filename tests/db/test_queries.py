"""The named statements: each is used, each is there, and each fits the schema."""

from __future__ import annotations

import ast
import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import aiomysql
import asyncpg
import pytest

from hl_utils.servers.process import ROOT
from hl_utils.servers.sql import SERVERS
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings

BOTH = (queries.MAIN, queries.DIALOGS)
# What the driver says of a statement that the schema does not fit.
REFUSED = (asyncpg.PostgresError, aiomysql.MySQLError)
MARK = "-- name: "
TYPO = "SELECT nothing FROM nowhere;\n"


def statements(dialect: str = "postgres") -> set[str]:
    """Every name in the queries of a dialect; those of MySQL are among those of PostgreSQL."""
    return set().union(*(queries.load(dialect, database) for database in BOTH))


def code() -> Iterator[ast.AST]:
    """Every node of the service and of the operator's tools."""
    for directory in ("hlfast", "hl_utils"):
        for path in sorted((ROOT / directory).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def constants(node: ast.AST) -> Iterator[str]:
    """The texts in a part of the code."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def named_in_calls() -> set[str]:
    """What `fetch` and `fetch_row` are given as a statement's name."""
    return {
        name
        for node in code()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("fetch", "fetch_row")
        and node.args
        for name in constants(node.args[0])
        if " " not in name  # SQL itself: the operator's tools and migrations write some
    }


def test_every_statement_that_is_named_exists() -> None:
    assert len(named_in_calls()) > 10
    assert named_in_calls() <= statements()


def test_every_statement_is_named_somewhere() -> None:
    texts = {text for node in code() for text in constants(node)}
    assert statements() <= texts


@pytest.mark.parametrize("dialect", SERVERS)
@pytest.mark.parametrize("database", BOTH)
def test_a_statement_is_constant_and_one(database: str, dialect: str) -> None:
    for name, text in queries.load(dialect, database).items():
        assert text, name
        assert ";" not in text, name
        assert "--" not in text, name
        assert "{" not in text and "%s" not in text, name


@pytest.mark.parametrize("dialect", SERVERS)
def test_every_file_is_read(dialect: str) -> None:
    files = (queries.SQL_DIRECTORY / dialect / "queries").glob("*.sql")
    written = {
        line.removeprefix(MARK)
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(MARK)
    }
    assert written == statements(dialect)


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `sql/` that the service takes for its own."""
    copy = tmp_path / "sql"
    shutil.copytree(queries.SQL_DIRECTORY, copy)
    monkeypatch.setattr(queries, "SQL_DIRECTORY", copy)
    return copy


def open_and_close(url: str) -> None:
    """What a start does."""

    async def run() -> None:
        database = await open_database(url, BOTH, Settings(database_pool_size=1))
        await database.close()

    asyncio.run(run())


def test_a_typo_in_any_statement_fails_the_start(migrated_database_url: str, sql: Path) -> None:
    dialect = queries.dialect_of(migrated_database_url)
    files = (sql / dialect / "queries").glob("*.sql")
    originals = {path: path.read_text(encoding="utf-8") for path in files}
    for name in sorted(statements(dialect)):
        start = f"{MARK}{name}\n"
        for path, text in originals.items():
            path.write_text(text.replace(start, start + TYPO))
        with pytest.raises(REFUSED):
            open_and_close(migrated_database_url)
    for path, text in originals.items():
        path.write_text(text)
    open_and_close(migrated_database_url)


def test_a_name_that_is_there_twice(sql: Path) -> None:
    (sql / "postgres" / "queries" / "zz.sql").write_text(f"{MARK}user_by_ids\nSELECT 1;\n")
    with pytest.raises(ValueError, match="user_by_ids"):
        queries.load("postgres", queries.MAIN)


def test_without_the_tables_it_does_not_start(database_url: str) -> None:
    with pytest.raises(REFUSED):
        open_and_close(database_url)
