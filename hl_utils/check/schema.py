"""The schema of a database, against that of one which was just made by the migrations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    "each change writes to it, and no statement uses it",
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

# What each migration is written down in: whoever applies them makes it, before the first one.
_LEDGER = "migration"

Ask: TypeAlias = Callable[[str], Awaitable[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Schema:
    """What tables have beside their columns. Each thing is named `table.name`.

    `indexes` has what each does: `unique post (author_id, client_id)`. `collations` has columns
    whose texts are not compared as the database compares others.
    """

    indexes: Mapping[str, str]
    triggers: Collection[str]
    collations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Present:
    """The schema that a database has, the indexes of it that are not valid, and all collations."""

    schema: Schema
    invalid: Collection[str]
    collations: Mapping[str, str]


def statement(dialect: str, name: str) -> str:
    """The text of sql/<dialect>/checks/<name>.sql."""
    path = queries.SQL_DIRECTORY / dialect / "checks" / f"{name}.sql"
    return path.read_text(encoding="utf-8")


def manifest_file(dialect: str) -> Path:
    """The path of the file that hl_utils.check.manifest writes."""
    return queries.SQL_DIRECTORY / dialect / "schema.json"


def manifest(dialect: str) -> dict[str, Schema]:
    """The schema that the migrations make, of each of the databases `main` and `dialogs`."""
    read = json.loads(manifest_file(dialect).read_text(encoding="utf-8"))
    return {database: Schema(**schema) for database, schema in read.items()}


async def present(ask: Ask) -> Present:
    """The schema that a database has. `ask` gives the rows of a statement of checks/."""
    indexes, collations, defaults = {}, {}, set()
    invalid = set()
    for row in await ask("indexes"):
        if row["table_name"] != _LEDGER:
            name = f"{row['table_name']}.{row['index_name']}"
            indexes[name] = _does(row)
            if not row["is_valid"]:
                invalid.add(name)
    for row in await ask("columns"):
        name = f"{row['table_name']}.{row['column_name']}"
        collations[name] = row["collation"]
        if row["is_default"] or row["table_name"] == _LEDGER:
            defaults.add(name)
    schema = Schema(
        indexes=dict(sorted(indexes.items())),
        triggers=sorted(f"{row['table_name']}.{row['name']}" for row in await ask("triggers")),
        collations={
            name: collation
            for name, collation in sorted(collations.items())
            if name not in defaults
        },
    )
    return Present(schema, invalid, collations)


def _does(row: Any) -> str:
    """What an index does, in words that are the same in both dialects; its name is not in it."""
    unique = "unique " if row["is_unique"] else ""
    where = f" where {row['condition']}" if row["condition"] else ""
    return f"{unique}{row['table_name']} ({row['columns']}){where}"


async def look(
    subject: str,
    dialect: str,
    databases: Sequence[str],
    ask: Ask,
    *,
    has_ledger: bool,
    spread: Collection[str] = (),
) -> Answers:
    """The migrations of these databases, and what they made, against what is there.

    `ask` gives the rows of a statement. `spread` has the tables that a cluster has on its nodes: it
    spreads none that has triggers.
    """
    applied = {}
    if has_ledger:
        applied = {row["name"]: row["checksum"] for row in await ask("ledger")}
    answers = [*_ledger(subject, dialect, databases, applied)]
    # What is missing with a whole migration is not said twice.
    complete = [
        database
        for database in databases
        if all(migration.name in applied for migration in queries.migrations(dialect, database))
    ]
    if complete:
        schemas = await asyncio.to_thread(manifest, dialect)
        found = await present(ask)
        for database in complete:
            answers += _indexes(subject, schemas[database], found)
            answers += _triggers(subject, schemas[database], found, spread)
            answers += _collations(subject, schemas[database], found)
    return answers


def _ledger(
    subject: str, dialect: str, databases: Sequence[str], applied: Mapping[str, str]
) -> Answers:
    """The migrations of these databases against those applied, name -> checksum."""
    answers: list[Finding | None] = []
    known = {
        m.name
        for database in (queries.MAIN, queries.DIALOGS)
        for m in queries.migrations(dialect, database)
    }
    for database in databases:
        for migration in queries.migrations(dialect, database):
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


def _indexes(subject: str, wanted: Schema, found: Present) -> Answers:
    """Any name will do: what came by upgrades has others."""
    there = set(found.schema.indexes.values())
    valid = {does for name, does in found.schema.indexes.items() if name not in found.invalid}
    answers: list[Finding | None] = []
    for name, does in wanted.indexes.items():
        answers.append(INDEX_MISSING.unless(does in there, subject, f"{name} is missing: {does}"))
        answers.append(
            INDEX_INVALID.unless(
                does in valid or does not in there, subject, f"{name} is INVALID: {does}"
            )
        )
    return answers


def _triggers(subject: str, wanted: Schema, found: Present, spread: Collection[str]) -> Answers:
    return [
        TRIGGER_MISSING.unless(name in found.schema.triggers, subject, f"{name} is missing")
        for name in wanted.triggers
        if name.partition(".")[0] not in spread
    ]


def _collations(subject: str, wanted: Schema, found: Present) -> Answers:
    return [
        KEY_COLLATION.unless(
            found.collations.get(name, collation) == collation,
            subject,
            f"{name} has the collation {found.collations.get(name)}, not {collation}",
        )
        for name, collation in wanted.collations.items()
    ]
