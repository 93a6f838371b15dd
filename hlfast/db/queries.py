"""The SQL of the project, read from `sql/<dialect>/`: statements by name, migrations in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

SQL_DIRECTORY = Path(__file__).resolve().parents[2] / "sql"
_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)

# The databases, and how the files begin whose statements run on them.
MAIN, DIALOGS = "main", "dialogs"


def dialect_of(url: str) -> Literal["postgres", "mysql"]:
    """The directory of `sql/` for the database at a URL."""
    return "mysql" if url.partition(":")[0] == "mysql" else "postgres"


def load(dialect: str, database: str) -> dict[str, str]:
    """Name -> statement, of the files that belong to one database (`main` or `dialogs`).

    Raises ValueError for a name that is there twice.
    """
    statements: dict[str, str] = {}
    for path in sorted((SQL_DIRECTORY / dialect / "queries").glob("*.sql")):
        if path.stem.startswith(DIALOGS) != (database == DIALOGS) and path.stem != "service":
            continue
        for name, text in named(path).items():
            if name in statements:
                raise ValueError(f"{path}: statement {name} is there twice")
            statements[name] = text
    return statements


def named(path: Path) -> dict[str, str]:
    """Name -> statement, of one file. Raises ValueError for a name that is there twice."""
    _, *parts = _NAME.split(path.read_text(encoding="utf-8"))
    names = parts[::2]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: a statement is there twice")
    return dict(zip(names, map(_without_comments, parts[1::2]), strict=True))


def _without_comments(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().rstrip(";")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/<database>/`. `name` is `<database>/<file stem>`."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return sha256(self.sql.encode()).hexdigest()


def migrations(dialect: str, database: str) -> list[Migration]:
    """The migrations of one database in the order of their numbers."""
    directory = SQL_DIRECTORY / dialect / "migrations" / database
    return [
        Migration(f"{database}/{path.stem}", path.read_text(encoding="utf-8"))
        for path in sorted(directory.glob("*.sql"))
    ]
