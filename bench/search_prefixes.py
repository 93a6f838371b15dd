"""Search among 1,000,000 users: a fixed mix of prefixes, each answer checked, the worst explained.

    python -m bench.search_prefixes [--database-url URL] [--users 1000000] [--publish]

The service's own search runs on the service's own pool, one search at a time; its cost is the CPU
time of PostgreSQL's processes that serve the pool. Every answer is held against a brute-force
query. The exit status is 1 if any was wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import asyncpg
import uvloop

from bench import processes, report
from bench.database import seeded
from bench.load import WrongAnswer
from bench.scenarios import folded
from hlfast.batching import UNBATCHED
from hlfast.db import queries
from hlfast.db.database import Database, Row
from hlfast.db.postgres import connect, open_database
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings
from hlfast.users.schemas import Search
from hlfast.users.search import UserSearch


class Prefixes(NamedTuple):
    """What is asked for: beginnings of names, in any case and script, and where to go on."""

    first: str = ""
    last: str = ""
    after: int = 0


# Middle of the ids: a later page.
LATER = 500_000
MIX = (
    # One letter: the widest ranges there are.
    *(Prefixes(first=letter) for letter in "aMjséаМלמकपสΜ美"),
    *(Prefixes(last=letter) for letter in "sMbpвКا김כशΠ王佐"),
    # Two to four letters.
    *(Prefixes(first=start) for start in ("an", "Ma", "Joh", "Mari", "Ан", "Анас", "لو", "영")),
    *(Prefixes(last=start) for start in ("sm", "MÜ", "Gar", "Kowa", "Би", "Никиф", "Παπ", "佐々")),
    # Whole names.
    *(Prefixes(first=name) for name in ("Michael", "Анастасия", "Ευτυχία", "美加子", "सीता")),
    *(Prefixes(last=name) for name in ("Smith", "JÜTTNER", "Никифорова", "García", "כהן")),
    # Both: common with common, with rare, with what is nobody's.
    Prefixes("m", "s"),
    Prefixes("a", "x"),
    Prefixes("q", "m"),
    Prefixes("а", "к"),
    Prefixes("ma", "sch"),
    Prefixes("mic", "sm"),
    Prefixes("Michael", "Smith"),
    Prefixes("Анна", "Би"),
    Prefixes("a", "м"),
    Prefixes("m", "zzzz"),
    Prefixes("zzzz", "m"),
    Prefixes("а", "s"),
    Prefixes("m", "beard"),
    Prefixes("mari", "bxx"),
    # What is rare or absent.
    Prefixes(first="x"),
    Prefixes(last="q"),
    Prefixes(first="zzzz"),
    Prefixes(last="☃"),
    Prefixes(first="%"),
    # Later pages.
    Prefixes(first="m", after=LATER),
    Prefixes("m", "s", after=LATER),
    Prefixes(last="Smith", after=LATER),
)

_LIMIT = 20
_BRUTE_FORCE = """
SELECT id, first_key, last_key FROM "user"
WHERE starts_with(first_key, $1) AND starts_with(last_key, $2) AND id > $3
ORDER BY id LIMIT $4
"""
_MATCHING = (
    'SELECT count(*) FROM "user" WHERE starts_with(first_key, $1) AND starts_with(last_key, $2)'
)
# Those of the pool: neither this program's own nor PostgreSQL's.
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """One of the mix: users whose names start so, and microseconds of PostgreSQL's CPU."""

    prefixes: Prefixes
    matching: int
    median_us: float
    p99_us: float


class Recorded(Database):
    """Passes statements on and remembers the last one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statement = ""
        self.args: tuple[Any, ...] = ()

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement."""
        self.statement, self.args = statement, args
        return await self._database.fetch(statement, *args)

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()


async def check(connection: asyncpg.Connection, page: bytes, prefixes: Prefixes) -> None:
    """Raises WrongAnswer unless it holds the rows that brute force finds."""
    keys = folded(prefixes.first), folded(prefixes.last)
    right = await connection.fetch(_BRUTE_FORCE, *keys, prefixes.after, _LIMIT)
    shown = [
        (user["id"], folded(user["first_name"]), folded(user["last_name"]))
        for user in json.loads(page)["items"]
    ]
    if shown != [tuple(row) for row in right]:
        raise WrongAnswer(f"{prefixes}: {shown}, expected {right}")


async def explain(connection: asyncpg.Connection, statement: str, args: Sequence[Any]) -> list[str]:
    """The plan that the service's connections come to use, after as many runs as it takes."""
    text = queries.load("postgres", queries.MAIN)[statement]
    literals = [
        await connection.fetchval("SELECT quote_literal($1::text[]::text)", list(map(str, arg)))
        for arg in args
    ]
    execute = f"EXECUTE worst({', '.join(literals)})"
    await connection.execute(f"PREPARE worst AS {text}")
    # PostgreSQL plans the first five anew and then weighs the generic plan against them.
    for _ in range(6):
        await connection.execute(execute)
    return [row[0] for row in await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {execute}")]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def measure(url: str, repeats: int) -> tuple[list[Timing], list[str]]:
    """The mix, worst first, and the plan of the worst. Raises WrongAnswer."""
    database = Recorded(await open_database(url, (queries.MAIN,), Settings()))
    connection = await connect(url)
    cache = ResponseCache(Settings().bodies_bytes_max)
    profiles = Profiles(database, cache, UNBATCHED)
    searches = UserSearch(database, profiles, cache, UNBATCHED)
    times_us: dict[Prefixes, list[float]] = {prefixes: [] for prefixes in MIX}
    matching: dict[Prefixes, int] = {}
    try:
        await connection.execute('VACUUM ANALYZE "user"')
        for prefixes in MIX:
            page = await searches.page(wanted(prefixes))
            await check(connection, page, prefixes)
            keys = folded(prefixes.first), folded(prefixes.last)
            matching[prefixes] = await connection.fetchval(_MATCHING, *keys)
        backends = [row["pid"] for row in await connection.fetch(_BACKENDS)]
        # In turn, so that a disturbance is everyone's.
        for prefixes in itertools.chain.from_iterable(itertools.repeat(MIX, repeats)):
            search = wanted(prefixes)
            before_s = sum(map(processes.run_s, backends))
            await searches.page(search)
            times_us[prefixes].append((sum(map(processes.run_s, backends)) - before_s) * 1e6)
        timings = [
            Timing(prefixes, matching[prefixes], percentile(found, 0.5), percentile(found, 0.99))
            for prefixes, found in times_us.items()
        ]
        timings.sort(key=lambda timing: timing.median_us, reverse=True)
        await searches.page(wanted(timings[0].prefixes))
        plan = await explain(connection, database.statement, database.args)
        return timings, [f"{database.statement}{database.args}", *plan]
    finally:
        await connection.close()
        await database.close()


def wanted(prefixes: Prefixes) -> Search:
    """What the HTTP layer would have decoded."""
    return Search(
        first_name=prefixes.first, last_name=prefixes.last, after=prefixes.after, limit=_LIMIT
    )


def table(timings: Sequence[Timing]) -> list[str]:
    """One row for each of the mix."""
    lines = [
        "| first name | last name | after | users matching | median, µs | p99, µs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for timing in timings:
        first, last, after = timing.prefixes
        lines.append(
            f"| {first} | {last} | {after or ''} | {timing.matching:,} "
            f"| {timing.median_us:.0f} | {timing.p99_us:.0f} |"
        )
    return lines


def main() -> int:
    """Run every search, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database-url", help="one with our tables")
    parser.add_argument("--users", type=int, default=1_000_000, help="seeded if there are none")
    parser.add_argument("--repeats", type=int, default=100)
    report.add_out(parser, "search_prefixes")
    options = parser.parse_args()
    nothing_else = {"friends": 0, "posts": 0, "dialogs": 0}
    with seeded(options.database_url, users=options.users, means=nothing_else) as url:
        facts = report.machine() | uvloop.run(report.database_facts(url))
        try:
            timings, plan = uvloop.run(measure(url, options.repeats))
        except WrongAnswer as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    method = (
        f"Pages of {_LIMIT} by the service's search on its own pool, one at a time, "
        f"{options.repeats} rounds of the mix; CPU time of PostgreSQL's processes that serve the "
        "pool, what the service asks besides the search included; every answer held against brute "
        "force."
    )
    lines = [*table(timings), "", "The worst:", "", "```", *plan, "```"]
    report.write(options.out, facts, method, lines, [asdict(timing) for timing in timings])
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
