"""Published figures, as the pages take them: by the name of a script's results, and by table.

A script's tables are those of its Markdown. What no script has published is in the folder
`recorded`: a file has one table, and says in its facts how it was written down.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import report

# What a file has: `facts`, `method` and `figures`.
Figures = dict[str, Any]


class PublishedError(Exception):
    """A page asks for figures that are not there."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text, as many in each row as there are columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self) -> list[str]:
        """The table as lines of Markdown."""
        head = [self.columns, ["---"] * len(self.columns)]
        return [f"| {' | '.join(cells)} |" for cells in [*head, *self.rows]]

    def with_columns(self, names: Sequence[str]) -> Table:
        """The table with these columns only."""
        indexes = [self._index(name) for name in names]
        return Table(names, [[cells[index] for index in indexes] for cells in self.rows])

    def having(self, column: str, text: str) -> Table:
        """Only rows whose cell in a column has this text."""
        index = self._index(column)
        return Table(self.columns, [cells for cells in self.rows if text in cells[index]])

    def _index(self, column: str) -> int:
        if column not in self.columns:
            raise PublishedError(f"no column {column!r} among {self.columns}")
        return list(self.columns).index(column)


def file(name: str) -> Path:
    """Where a published file is."""
    return report.results() / name


def link(name: str, page: Path) -> str:
    """From a page to a published file."""
    return os.path.relpath(file(name), page.parent)


def _recorded(name: str) -> Path:
    return file("recorded") / f"{name}.json"


def figures(name: str) -> Figures:
    """What is published, or recorded, under a name. Of Markdown alone, only the method."""
    path = _recorded(name)
    if not path.exists():
        path = file(f"{name}.json")
    if not path.exists() and file(f"{name}.md").exists():
        return {"method": file(f"{name}.md").read_text(encoding="utf-8").partition("\n")[0]}
    if not path.exists():
        raise PublishedError(f"nothing is published under the name {name}")
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(name: str, number: int) -> Table:
    """The table of that number, from 1, that is published or recorded under a name."""
    if _recorded(name).exists():
        rows = figures(name)["figures"]
        found = [Table([*rows[0]], [[*map(str, row.values())] for row in rows])]
    else:
        found = _tables(file(f"{name}.md").read_text(encoding="utf-8"))
    if not 1 <= number <= len(found):
        raise PublishedError(f"{name} has {len(found)} tables, and no {number}")
    return found[number - 1]


def _tables(text: str) -> list[Table]:
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()
        )
        found.append(Table(head, rows))
    return found
