"""The files of sql/mysql as a parser of MySQL 8 reads them: no server of it is at hand.

What MySQL has and MariaDB lacks is found by MariaDB itself, on which every test runs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
import sqlglot
from sqlglot import expressions
from sqlglot.errors import ParseError

from hlfast.db import queries

DATABASES = (queries.MAIN, queries.DIALOGS)
STATEMENTS = {
    name: text for database in DATABASES for name, text in queries.load("mysql", database).items()
}
MIGRATIONS = {
    migration.name: migration.sql
    for database in DATABASES
    for migration in queries.migrations("mysql", database)
}
# What MariaDB takes and MySQL 8 does not.
MARIADB_ONLY = {
    "RETURNING": r"\bRETURNING\b",
    "sequences": r"\b(CREATE|ALTER|DROP) SEQUENCE\b|\bNEXTVAL\b|\bNEXT VALUE FOR\b|\bLASTVAL\b",
    "types": r"\b(UUID|INET4|INET6|VECTOR)\b(?!\s*\()",
    "collations": r"\bnopad\b|_nopad_|\buca1400\b|\butf8mb4_unicode_nopad",
    "CREATE OR REPLACE": r"\bOR\s+REPLACE\b(?!\s+VIEW)",
    "IF NOT EXISTS beside tables": r"\b(COLUMN|INDEX|KEY|PROCEDURE|FUNCTION)\s+IF\s+NOT\s+EXISTS\b",
    "DROP … IF EXISTS beside tables": r"\bDROP\s+(COLUMN|INDEX|KEY|CONSTRAINT)\s+IF\s+EXISTS\b",
    "its own blocks": r"\bBEGIN\s+NOT\s+ATOMIC\b|\bFOR\s+\w+\s+IN\b|\bSET\s+STATEMENT\b",
    "its own columns": r"\bROW\s+START\b|\bSYSTEM\s+VERSIONING\b|\bINVISIBLE\b|\bPERSISTENT\b",
    "its own functions": r"\b(JSON_EXISTS|JSON_VALUE_ARRAY|JSON_DETAILED|NATURAL_SORT_KEY|MEDIAN"
    r"|TO_CHAR|ADD_MONTHS|SFORMAT|KDF|CHR)\s*\(",
    "its own limits": r"\bROWS\s+EXAMINED\b|\bFETCH\s+FIRST\b|\bWAIT\s+\d|\bMAX_STATEMENT_TIME\b",
    "its own operators": r"\|\||\bMINUS\b|:=\s*DEFAULT",
}
# What stands in a procedure beside statements and has no expression in it.
STRUCTURE = re.compile(
    r"(?:\w+: )?BEGIN\b|END(?: IF| WHILE)?;|ELSE\b|START TRANSACTION;|COMMIT;|ROLLBACK;|RESIGNAL;"
    r"|LEAVE \w+;|RENAME TABLE (?:\w+ TO \w+,?\s*)+;"
    r"|SIGNAL SQLSTATE '\w{5}'\s+SET (?:MYSQL_ERRNO = \d+,\s+)?MESSAGE_TEXT = '[^']{1,128}';"
    r"|DECLARE EXIT HANDLER FOR (?:\d+|SQLEXCEPTION)\b"
)
CONDITION = re.compile(r"(?:IF|ELSEIF|WHILE) (.+?) (?:THEN|DO)\b", re.DOTALL)
VARIABLE = re.compile(
    r"DECLARE (\w+) ([A-Z]+(?:\(\d+\))?(?: CHARACTER SET \w+)?)(?: DEFAULT (.+?))?;", re.DOTALL
)
ASSIGNMENT = re.compile(r"SET ((?:v_|NEW\.)\w+ = .+?);", re.DOTALL)
INTO = re.compile(r"\bINTO (v_\w+(?:, v_\w+)*)")
RETURN = re.compile(r"RETURN (.+?);", re.DOTALL)
PROCEDURE = re.compile(
    r"CREATE\s+(?:PROCEDURE|FUNCTION) \w+\s*\(([^;]*?)\)"
    r"(?: RETURNS \w+ DETERMINISTIC NO SQL)?\s*(\w+: )?BEGIN\b"
)
TRIGGER = re.compile(
    r"CREATE TRIGGER \w+ (?:BEFORE|AFTER) (?:INSERT|UPDATE|DELETE) ON \w+ FOR EACH ROW\s+BEGIN\b"
)
DROP = re.compile(
    r"DROP (?:PROCEDURE|FUNCTION|TRIGGER|TABLE|VIEW) IF EXISTS\s+\w+(?:,\s+\w+)*\s*;|CALL \w+\(\);"
)
CHARACTER_SET = re.compile(r"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;")


@pytest.fixture(autouse=True)
def nothing_is_skipped(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """sqlglot takes what it does not know for a Command, and only logs that."""
    with caplog.at_level(logging.WARNING, logger="sqlglot"):
        yield
    assert caplog.messages == []


def parse(sql: str) -> expressions.Expr:
    """The tree of one statement. Raises ParseError."""
    tree = sqlglot.parse_one(sql, dialect="mysql")
    assert not list(tree.find_all(expressions.Command)), sql
    return tree


def without_comments(sql: str) -> str:
    """No text in the files has two dashes in it."""
    return "\n".join(line.partition("--")[0].rstrip() for line in sql.splitlines()).strip()


def check(sql: str) -> None:
    """A statement, or `CALL name(expressions)`, which the parser does not know."""
    if sql.startswith("CALL "):
        sql = "SELECT " + sql.removeprefix("CALL ")
        assert re.match(r"SELECT \w+\(", sql), sql
    parse(sql)


def parse_procedure(sql: str) -> str:
    """Its parameters and, piece by piece, its body; what comes after it is returned."""
    head = PROCEDURE.match(sql)
    assert head is not None, sql[:80]
    parameters = re.sub(r"\b(IN|OUT|INOUT) ", "", head[1])
    if parameters.strip():
        parse(f"CREATE TABLE t ({parameters})")
    return parse_body(sql[head.end() :].lstrip())


def parse_body(rest: str) -> str:
    """Piece by piece what follows a BEGIN; what comes after its end is returned."""
    depth = 1
    while depth:
        found = STRUCTURE.match(rest)
        if found:
            depth += (found[0].split()[-1] == "BEGIN") - (found[0] == "END;")
        elif found := CONDITION.match(rest):
            parse(f"SELECT {found[1]}")
        elif found := VARIABLE.match(rest):
            parse(f"CREATE TABLE t ({found[1]} {found[2]})")
            parse(f"SELECT {found[3] or 1}")
        elif found := ASSIGNMENT.match(rest) or RETURN.match(rest):
            parse(f"SELECT {found[1]}")
        else:
            found = re.match(r"[^;]+;", rest)
            assert found is not None, rest[:80]
            check(INTO.sub("", found[0].removesuffix(";")))
        rest = rest[found.end() :].lstrip()
    return rest


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_mysql(name: str) -> None:
    check(STATEMENTS[name])


@pytest.mark.parametrize("name", MIGRATIONS)
def test_every_migration_is_mysql(name: str) -> None:
    rest = without_comments(MIGRATIONS[name])
    kinds = set()
    while rest:
        if PROCEDURE.match(rest):
            rest = parse_procedure(rest)
            kinds.add("procedure")
            continue
        if head := TRIGGER.match(rest):
            rest = parse_body(rest[head.end() :].lstrip())
            kinds.add("trigger")
            continue
        found = DROP.match(rest) or CHARACTER_SET.match(rest)
        if found is None:
            found = re.match(r"[^;]+;", rest)
            assert found is not None, rest[:80]
            kinds.add(type(parse(found[0].removesuffix(";"))))
        rest = rest[found.end() :].lstrip()
    assert kinds & {"procedure", "trigger"}
    assert kinds <= {"procedure", "trigger", expressions.Create, expressions.Insert}


@pytest.mark.parametrize("what", MARIADB_ONLY)
def test_nothing_is_mariadbs_alone(what: str) -> None:
    for name, text in (STATEMENTS | MIGRATIONS).items():
        found = re.search(MARIADB_ONLY[what], without_comments(text), re.IGNORECASE)
        assert found is None, (name, found)


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT id FROM user WHERE",
        "INSERT INTO user (id) VALUES (1",
        "CREATE TABLE t (id INT x INT)",
        "SHOW WHATEVER",
    ],
)
def test_what_is_no_mysql_is_found(sql: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((ParseError, AssertionError)):
        parse(sql)
    caplog.clear()


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("RETURNING", "INSERT INTO t (x) VALUES (1) RETURNING id"),
        ("sequences", "SELECT NEXTVAL(s)"),
        ("types", "CREATE TABLE t (id UUID)"),
        ("collations", "SELECT 'a' COLLATE utf8mb4_nopad_bin"),
        ("CREATE OR REPLACE", "CREATE OR REPLACE TABLE t (x INT)"),
        ("IF NOT EXISTS beside tables", "ALTER TABLE t ADD COLUMN IF NOT EXISTS x INT"),
        ("DROP … IF EXISTS beside tables", "ALTER TABLE t DROP COLUMN IF EXISTS x"),
    ],
)
def test_what_is_mariadbs_alone_is_found(what: str, sql: str) -> None:
    assert re.search(MARIADB_ONLY[what], sql, re.IGNORECASE)
