"""Fill a database, or a script that fills one, with realistic users and what they did.

Run as `hlfast seed --users N`, or as `python user_faker.py --users N` from anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

if not __package__:  # run as a script, which knows only its own directory
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from hl_utils.failures import reported
from hl_utils.population.people import languages
from hl_utils.population.rows import COUNT_FRIENDS, USERS_END, Chunk, Plan, Population
from hl_utils.population.sinks import SCRIPTS, Sink, database_sink
from hlfast import settings as settings_module
from hlfast.auth.passwords import hash_password
from hlfast.settings import Settings, SettingsError

# Of every seeded user, printed at the end. These are nobody's accounts: never seed a database
# that real people use.
PASSWORD = "hlfast-demo"  # noqa: S105

_USERS_MAX = USERS_END - 1
# The connections of one circle of people are in memory.
_MEANS_MAX = {"friends": 200, "posts": 10_000, "dialogs": 200}
_PLAIN_PROGRESS_S = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (those of the process if None); the exit code."""
    arguments = _parser().parse_args(argv)
    return reported("hlfast seed", lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hlfast seed", description=__doc__)
    parser.add_argument("--users", type=int, required=True, metavar="N", help="how many")
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="S",
        help="the same one gives the same people (%(default)s)",
    )
    for name, default, help_text in (
        ("friends", 20.0, "friends of one user, on average (%(default)g); 0: none"),
        ("posts", 5.0, "posts of one user, on average (%(default)g); 0: none"),
        ("dialogs", 2.0, "dialogs of one user, on average (%(default)g); 0: none"),
    ):
        parser.add_argument(
            f"--{name}", type=float, default=default, metavar="MEAN", help=help_text
        )
    parser.add_argument(
        "--sql",
        type=Path,
        metavar="FILE",
        help="write a script that makes the tables and fills them instead, for psql or mysql, "
        "or a database container's /docker-entrypoint-initdb.d",
    )
    parser.add_argument(
        "--dialect",
        choices=SCRIPTS,
        default="postgres",
        help="of the script (%(default)s)",
    )
    parser.add_argument(
        "--database-url", metavar="URL", help="the main database (that of DATABASE_URL)"
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    settings = settings_module.load()
    if arguments.database_url:
        settings = settings.model_copy(update={"database_url": arguments.database_url})
    plan = _plan(arguments, settings)
    started = time.monotonic()
    asyncio.run(_seed(plan, settings, arguments.sql, arguments.dialect))
    print(
        f"Done in {time.monotonic() - started:.1f} s. The password of every seeded user: {PASSWORD}"
    )
    return 0


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    if not 1 <= arguments.users <= _USERS_MAX:
        raise SettingsError(f"--users must be from 1 to {_USERS_MAX}")
    for name, most in _MEANS_MAX.items():
        # Written so that NaN fails too.
        if not 0 <= getattr(arguments, name) <= most:
            raise SettingsError(f"--{name} must be from 0 to {most}")
    return Plan(
        users=arguments.users,
        seed=arguments.seed,
        friends_mean=arguments.friends,
        posts_mean=arguments.posts,
        dialogs_mean=arguments.dialogs,
        friends_max=settings.friends_max,
    )


async def _seed(plan: Plan, settings: Settings, script: Path | None, dialect: str) -> None:
    if script is None:
        async with database_sink(settings) as sink:
            await _fill(sink, plan, settings)
    else:
        with script.open("wb") as file:
            await _fill(SCRIPTS[dialect](file), plan, settings)


async def _fill(sink: Sink, plan: Plan, settings: Settings) -> None:
    """Everything there is, part by part.

    No outbox rows: they tell those who are connected of what is new, and this is history.
    """
    ids = await sink.begin(plan)
    spoken = await asyncio.to_thread(languages, plan.seed)
    population = Population(plan, spoken, ids, _password_hash(plan.seed, settings))
    await _copy(sink, "users", plan.users, population.users())
    if plan.friends_mean:
        await _copy(sink, "friendships", plan.friend_rows_expected, population.friends())
        _say("counting friends")
        await sink.execute(COUNT_FRIENDS.format(first=ids.user, last=ids.user + plan.users - 1))
    if plan.posts:
        await _copy(sink, "posts", plan.posts, population.posts())
    if plan.dialogs_mean:
        await _copy(sink, "dialogs", plan.dialog_rows_expected, population.dialogs())
    _say("committing and analysing")
    await sink.finish()
    known = " (very well known)" if plan.friends_mean else ""
    print(f"Names to log in with: {f'{known}, '.join(population.examples)}")


def _password_hash(seed: int, settings: Settings) -> str:
    """One for all, with a salt from the seed: the password is public, the rows are repeatable."""
    return hash_password(PASSWORD, settings, salt=sha256(str(seed).encode()).digest()[:16])


async def _copy(sink: Sink, what: str, expected: int, chunks: Iterator[Chunk]) -> None:
    """Hand chunks to the sink while a thread makes the next one: never more than two."""
    loop = asyncio.get_running_loop()
    # One thread: each further one would keep memory of its own for the chunks that it made.
    with _progress(what, expected) as advance, ThreadPoolExecutor(1) as thread:
        following = loop.run_in_executor(thread, next, chunks, None)
        while (chunk := await following) is not None:
            following = loop.run_in_executor(thread, next, chunks, None)
            await sink.copy(chunk)
            advance(chunk.rows)


@contextmanager
def _progress(what: str, expected: int) -> Iterator[Callable[[int], None]]:
    """Show rows as they come: a bar on a terminal, else a line every few seconds.

    `expected` rows, more or less. Ends in a line with their number and rate.
    """
    rows = 0
    started = shown = time.monotonic()
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description:12}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=expected)

    def advance(count: int) -> None:
        nonlocal rows, shown
        rows += count
        bar.update(task, completed=min(rows, expected))
        if bar.disable and time.monotonic() - shown >= _PLAIN_PROGRESS_S:
            shown = time.monotonic()
            _say(f"{what}: {rows:,} of about {expected:,} rows")

    with bar:
        yield advance
    took_s = time.monotonic() - started
    print(f"{what}: {rows:,} rows in {took_s:.1f} s, {rows / took_s:,.0f} a second", flush=True)


def _say(text: str) -> None:
    """What is going on, as opposed to what was done, which goes to stdout."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
