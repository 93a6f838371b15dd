"""What the migrations promise, read from their text, against what a database has."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from hl_utils.check.finding import Answers, Finding, Kind
from hlfast.db import queries

MIGRATION_MISSING = Kind(
    "migration-missing",
    "error",
    "statements of this version fail",
    "run `bash build.sh tables`",
)
MIGRATION_CHANGED = Kind(
    "migration-changed",
    "error",
    "the schema is not the one that this version was tested with",
    "restore the file as it was applied, and put the change into a new migration",
)
MIGRATION_UNKNOWN = Kind(
    "migration-unknown",
    "warning",
    "a newer version was here: this one may not fit its schema",
    "run the newer version",
)
INDEX_MISSING = Kind(
    "index-missing",
    "error",
    "each read or check by it looks at the whole table",
    "make it as its migration in sql/ does, with CONCURRENTLY where users are waiting",
)
INDEX_INVALID = Kind(
    "index-invalid",
    "error",
    "it is kept up to date, but not used",
    "REINDEX INDEX CONCURRENTLY it, after removing what made it fail",
)
TRIGGER_MISSING = Kind(
    "trigger-missing",
    "error",
    "rows that are changed by a statement of somebody's own are shown as they were",
    "make it as its migration in sql/ does",
)
KEY_COLLATION = Kind(
    "key-collation",
    "error",
    "search by prefix and unique names follow the order of code points",
    "give the column the collation that its migration names",
)
KINDS = (
    MIGRATION_MISSING,
    MIGRATION_CHANGED,
    MIGRATION_UNKNOWN,
    INDEX_MISSING,
    INDEX_INVALID,
    TRIGGER_MISSING,
    KEY_COLLATION,
)

_COMMENT = re.compile(r"--.*")
_TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?([`\"\w]+)\s*\(", re.IGNORECASE)
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (\w+)\s+ON ([`\"\w]+)\s*\(", re.IGNORECASE)
_PRIMARY = re.compile(
    r"ALTER TABLE ([`\"\w]+) ADD (?:CONSTRAINT \w+ )?PRIMARY KEY\s*\(", re.IGNORECASE
)
# Those that are made whatever the server: not what a function makes.
_TRIGGER = re.compile(r"^CREATE TRIGGER (\w+)[^;]*?\sON (\w+)", re.MULTILINE)
_DROP = re.compile(r"DROP TABLE (?:IF EXISTS )?([^;]+);", re.IGNORECASE)
_RENAME = re.compile(r"RENAME TABLE ([^;]+);", re.IGNORECASE)
_ALTER_NAME = re.compile(r"ALTER TABLE ([`\"\w]+ RENAME TO [`\"\w]+);", re.IGNORECASE)
_TO = re.compile(r" (?:RENAME )?TO ", re.IGNORECASE)
_PARTIAL = re.compile(r"\bWHERE\b", re.IGNORECASE)
_KEY = re.compile(
    r"(?:CONSTRAINT \w+ )?(PRIMARY KEY|UNIQUE KEY|UNIQUE INDEX|UNIQUE|KEY|INDEX)"
    r"\s*([`\w]*)\s*\(([^)]*)\)",
    re.IGNORECASE,
)
_COLUMN_KEY = re.compile(r"\b(PRIMARY KEY|UNIQUE)\b", re.IGNORECASE)
_COLLATION = re.compile(r"\bCOLLATE\s+[`\"]?(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Index:
    """An index is what it does: any name will do."""

    table: str
    columns: tuple[str, ...]
    is_unique: bool = False
    is_partial: bool = False

    def __str__(self) -> str:
        kind = "unique, " if self.is_unique else ""
        return f"{kind}{self.table} ({', '.join(self.columns)})"


@dataclass(slots=True)
class Promises:
    """What migrations make: names of indexes, tables of triggers, and collations of columns."""

    indexes: dict[Index, str] = field(default_factory=dict)
    triggers: dict[str, str] = field(default_factory=dict)
    collations: dict[tuple[str, str], str] = field(default_factory=dict)

    def rename(self, names: Mapping[str, str | None]) -> None:
        """Tables have other names now; those of None are gone, and what they had with them."""

        def now(table: str) -> str | None:
            return names.get(table, table)

        self.indexes = {
            replace(index, table=table): name
            for index, name in self.indexes.items()
            if (table := now(index.table)) is not None
        }
        self.triggers = {
            name: table
            for name, before in self.triggers.items()
            if (table := now(before)) is not None
        }
        self.collations = {
            (table, column): collation
            for (before, column), collation in self.collations.items()
            if (table := now(before)) is not None
        }


def promises(migrations: Iterable[queries.Migration]) -> Promises:
    """Read them from the text: tables with their keys, indexes, triggers, and what is dropped."""
    found = Promises()
    readers: dict[re.Pattern[str], Callable[[str, re.Match[str], Promises], None]] = {
        _TABLE: lambda sql, match, found: _read_table(
            _bare(match[1]), _inside(sql, match.end()), found
        ),
        _INDEX: _read_index,
        _PRIMARY: _read_primary_key,
        _TRIGGER: lambda _, match, found: found.triggers.update({match[1]: match[2]}),
        _DROP: lambda _, match, found: found.rename(dict.fromkeys(_names(match[1]))),
        _RENAME: _read_names,
        _ALTER_NAME: _read_names,
    }
    for migration in migrations:
        sql = _COMMENT.sub("", migration.sql)
        statements = [
            (match.start(), reader, match)
            for pattern, reader in readers.items()
            for match in pattern.finditer(sql)
        ]
        for _, reader, match in sorted(statements, key=lambda statement: statement[0]):
            reader(sql, match, found)
    return found


def _read_index(sql: str, match: re.Match[str], found: Promises) -> None:
    columns = _inside(sql, match.end())
    rest = sql[match.end() + len(columns) :].partition(";")[0]
    is_partial = _PARTIAL.search(rest) is not None
    index = Index(_bare(match[3]), _names(columns), bool(match[1]), is_partial)
    found.indexes[index] = match[2]


def _read_primary_key(sql: str, match: re.Match[str], found: Promises) -> None:
    table = _bare(match[1])
    index = Index(table, _names(_inside(sql, match.end())), is_unique=True)
    found.indexes[index] = f"{table}'s key"


def _read_names(_: str, match: re.Match[str], found: Promises) -> None:
    for item in _split(match[1]):
        before, after = _TO.split(item)
        found.rename({_bare(before): _bare(after)})


def _read_table(table: str, body: str, found: Promises) -> None:
    for item in _split(body):
        name, _, rest = item.partition(" ")
        if key := _KEY.match(item):
            is_unique = key[1].upper().startswith(("PRIMARY", "UNIQUE"))
            index = Index(table, _names(key[3]), is_unique)
            found.indexes[index] = _bare(key[2]) or f"{table}'s key"
            continue
        if _COLUMN_KEY.search(rest):
            found.indexes[Index(table, (_bare(name),), is_unique=True)] = f"{table}'s key"
        if collation := _COLLATION.search(rest):
            found.collations[table, _bare(name)] = collation[1]
        elif rest.lstrip().upper().startswith("VARBINARY"):
            found.collations[table, _bare(name)] = "binary"


def _inside(sql: str, start: int) -> str:
    """The text up to the parenthesis that closes one opened just before."""
    depth = 1
    for place in range(start, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[place], 0)
        if depth == 0:
            return sql[start:place]
    return sql[start:]


def _split(body: str) -> Iterator[str]:
    """The items between the commas that stand in no parentheses, in single spaces."""
    depth, start = 0, 0
    for place, character in enumerate(f"{body},"):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield " ".join(body[start:place].split())
            start = place + 1


def _bare(name: str) -> str:
    return name.strip('`"')


def _names(columns: str) -> tuple[str, ...]:
    """Columns without what follows their names; expressions as they are, without quotes."""
    return tuple(
        re.sub('[`"]', "", item if "(" in item else item.split()[0]) for item in _split(columns)
    )


Ask: TypeAlias = Callable[[str], Awaitable[Sequence[Any]]]


def statement(dialect: str, name: str) -> str:
    """The text of sql/<dialect>/checks/<name>.sql."""
    path = queries.SQL_DIRECTORY / dialect / "checks" / f"{name}.sql"
    return path.read_text(encoding="utf-8")


async def look(
    subject: str, dialect: str, rooms: Sequence[str], ask: Ask, *, has_ledger: bool
) -> Answers:
    """The migrations of the rooms and what they made. `ask` gives the rows of a statement."""
    applied = {}
    if has_ledger:
        applied = {row["name"]: row["checksum"] for row in await ask("ledger")}
    # What is missing with a whole migration is not said twice.
    wanted = promises(
        migration
        for room in rooms
        for migration in queries.migrations(dialect, room)
        if migration.name in applied
    )
    return [
        *_ledger(subject, dialect, rooms, applied),
        *_indexes(subject, wanted, await ask("indexes")),
        *_triggers(subject, wanted, await ask("triggers")),
        *_collations(subject, wanted, await ask("columns")),
    ]


def _ledger(
    subject: str, dialect: str, rooms: Sequence[str], applied: Mapping[str, str]
) -> Answers:
    """The migrations of the rooms against those applied, name -> checksum."""
    answers: list[Finding | None] = []
    known = {
        m.name
        for room in (queries.MAIN, queries.DIALOGS)
        for m in queries.migrations(dialect, room)
    }
    for room in rooms:
        for migration in queries.migrations(dialect, room):
            name = migration.name
            answers.append(
                MIGRATION_MISSING.unless(name in applied, subject, f"{name} was not applied")
            )
            answers.append(
                MIGRATION_CHANGED.unless(
                    applied.get(name, migration.checksum) == migration.checksum,
                    subject,
                    f"{name} was applied with another text",
                )
            )
    answers += [
        MIGRATION_UNKNOWN.found(subject, f"{n} is not in sql/") for n in applied.keys() - known
    ]
    return answers


def _indexes(subject: str, wanted: Promises, rows: Sequence[Any]) -> Answers:
    """Rows of indexes.sql: table_name, columns, is_unique, is_partial, is_valid."""
    valid: dict[Index, bool] = {}
    for row in rows:
        columns = _names(row["columns"])
        is_unique, is_partial = bool(row["is_unique"]), bool(row["is_partial"])
        index = Index(row["table_name"], columns, is_unique, is_partial)
        valid[index] = valid.get(index, False) or row["is_valid"]
    answers: list[Finding | None] = []
    for index, name in wanted.indexes.items():
        answers.append(INDEX_MISSING.unless(index in valid, subject, f"{name} is missing: {index}"))
        answers.append(
            INDEX_INVALID.unless(valid.get(index, True), subject, f"{name} is INVALID: {index}")
        )
    return answers


def _triggers(subject: str, wanted: Promises, rows: Sequence[Any]) -> Answers:
    """Rows of triggers.sql: name."""
    found = {row["name"] for row in rows}
    return [
        TRIGGER_MISSING.unless(name in found, subject, f"{name} is missing")
        for name in sorted(wanted.triggers)
    ]


def _collations(subject: str, wanted: Promises, rows: Sequence[Any]) -> Answers:
    """Rows of columns.sql: table_name, column_name, collation."""
    found = {(row["table_name"], row["column_name"]): row["collation"] for row in rows}
    return [
        KEY_COLLATION.unless(
            found.get(column, collation) == collation,
            subject,
            f"{'.'.join(column)} has the collation {found.get(column)}, not {collation}",
        )
        for column, collation in wanted.collations.items()
    ]
