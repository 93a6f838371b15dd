"""What a row costs on disk: each table with its indexes, divided by its rows.

    python -m bench.row_bytes [--users 20000] [--publish]

The rows are the seeder's, a database of the run's own holds them.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

import asyncpg
import uvloop

from bench import report
from bench.database import seeded

TABLES = ("user", "friend", "post", "dialog", "message")
_SIZE = """
SELECT pg_total_relation_size(quote_ident($1)), pg_indexes_size(quote_ident($1)),
       reltuples::bigint
FROM pg_class
WHERE oid = quote_ident($1)::regclass
"""


@dataclass(frozen=True, slots=True)
class RowBytes:
    """A table's bytes for each row: `row` with TOAST and maps, `indexes` of all of them."""

    table: str
    rows: int
    row: float
    indexes: float


async def _measured(url: str) -> tuple[list[RowBytes], dict[str, str]]:
    database = await asyncpg.connect(url)
    try:
        await database.execute("VACUUM (ANALYZE)")
        found = []
        for table in TABLES:
            total, indexes, rows = await database.fetchrow(_SIZE, table)
            found.append(RowBytes(table, rows, (total - indexes) / rows, indexes / rows))
    finally:
        await database.close()
    return found, report.machine() | await report.database_facts(url)


def main() -> None:
    """Measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=20_000)
    report.add_out(parser, "row_bytes")
    options = parser.parse_args()
    means = {"friends": 50.0, "posts": 5.0, "dialogs": 3.0}
    with seeded(None, users=options.users, means=means) as url:
        found, facts = uvloop.run(_measured(url))
    lines = ["| table | rows | bytes of a row | of its indexes |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.table} | {one.rows:,} | {one.row:.0f} | {one.indexes:.0f} |" for one in found
    ]
    method = "The seeder's rows, after VACUUM; a friendship is two rows."
    report.write(options.out, facts, method, lines, [asdict(one) for one in found])
    print(options.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
