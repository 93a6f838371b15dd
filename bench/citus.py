"""Shards are moved, split, drained and lost while messages flow: is any message lost?

`python -m bench.citus DSN DSN DSN DSN`: of a coordinator and three workers with Citus, as a user
who may create databases; the scene `kill` kills one server and starts it again, which needs them
on this machine. Messages go through the real API, whose main database is an embedded PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg

from bench import report
from bench.citus_load import Window, Writers, compare
from bench.crowd import Crowd
from bench.processes import tree
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.db import migrations, queries

_PEOPLE = 60
_WRITERS = 8
_STEADY_S = 8.0
_DOWN_S = 6.0
_DATABASE = f"hlfast_bench_{os.getpid()}"


class Wrong(Exception):
    """A message was lost, doubled or numbered wrongly."""


class World(NamedTuple):
    """`urls`: the coordinator's database first."""

    urls: list[str]
    api: Api
    writers: Writers

    async def shards(self, *argv: str) -> None:
        """`hlfast shards`. Raises subprocess.CalledProcessError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "hl_utils", "shards", *argv),
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.urls[0]},
            stdout=subprocess.DEVNULL,
        )
        if await process.wait():
            raise subprocess.CalledProcessError(process.returncode or 1, argv)

    async def rows_by_node(self) -> dict[str, int]:
        """How many messages each node holds."""
        found = await _fetch(
            self.urls[0],
            "SELECT nodeport, sum(result::bigint)::bigint AS n FROM run_command_on_placements("
            "'message', 'SELECT count(*) FROM %s') GROUP BY nodeport ORDER BY nodeport",
        )
        return {str(row["nodeport"]): row["n"] for row in found}


async def _fetch(url: str, sql: str, *args: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql, *args))
    finally:
        await connection.close()


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


async def steady(_: World) -> None:
    """Let nothing happen for as long as the other scenes take."""
    await asyncio.sleep(_STEADY_S)


async def grow(world: World) -> None:
    """A third worker joins and gets its part."""
    await world.shards("add", _address(world.urls[3]))
    await world.shards("rebalance")


async def split(world: World) -> None:
    """Twice as many shards, online."""
    (row,) = await _fetch(
        world.urls[0],
        "SELECT count(*) AS n FROM pg_dist_shard WHERE logicalrelid = 'dialog'::regclass",
    )
    await world.shards("count", str(2 * row["n"]))


async def shrink(world: World) -> None:
    """A worker is drained and leaves."""
    await world.shards("drain", _address(world.urls[2]))
    await world.shards("remove", _address(world.urls[2]))


def _kill(directory: Path) -> Callable[[], int]:
    """Kill the server of a data directory; what starts it again and gives the exit status."""
    postmaster = int((directory / "postmaster.pid").read_text().split()[0])
    program = Path(f"/proc/{postmaster}/exe").resolve().with_name("pg_ctl")
    owner = directory.stat().st_uid
    for pid in tree(postmaster):
        with suppress(ProcessLookupError):  # it saw the first one die
            os.kill(pid, signal.SIGKILL)
    argv = [program, "-D", directory, "-l", directory.with_suffix(".log"), "-w", "start"]
    return partial(
        subprocess.call,
        argv,
        cwd="/",
        # Its own home: it would look for certificates in ours.
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        user=owner if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
    )


async def kill(world: World) -> None:
    """A worker and all its processes die, and it is started again."""
    (row,) = await _fetch(world.urls[1], "SELECT current_setting('data_directory') AS path")
    start = _kill(Path(row["path"]))
    await asyncio.sleep(_DOWN_S)
    if await asyncio.to_thread(start):
        raise RuntimeError("the worker did not start again")
    await asyncio.sleep(_STEADY_S / 2)


SCENES: dict[str, Callable[[World], Awaitable[None]]] = {
    "steady": steady,
    "add and rebalance": grow,
    "count doubled": split,
    "drain and remove": shrink,
    "kill -9 and back": kill,
}


def _line(name: str, seconds: float, seen: Window, before: object, after: object) -> str:
    refused = ", ".join(f"{n} × {status}" for status, n in seen.refused.items()) or "0"
    cells = (
        name,
        f"{seconds:.1f}",
        f"{len(seen.sent) / seconds:,.0f}",
        refused,
        f"{seen.longest_send_s:.2f}",
        f"{seen.longest_silence_s:.2f}",
        f"{seen.registered} / {seen.not_registered}",
        f"{before} → {after}",
    )
    return f"| {' | '.join(cells)} |"


async def _on_living(world: World, seen: Window) -> int:
    """The messages in dialogs of other nodes than the one that was killed."""
    port = urlsplit(world.urls[1]).port or 5432
    dialogs = list({one.dialog_id for one in seen.sent})
    rows = await _fetch(
        world.urls[0],
        "SELECT d FROM unnest($1::bigint[]) AS d JOIN pg_dist_placement AS p "
        "ON p.shardid = get_shard_id_for_distribution_column('dialog', d) "
        "JOIN pg_dist_node AS n USING (groupid) WHERE n.nodeport <> $2",
        dialogs,
        port,
    )
    living = {row["d"] for row in rows}
    return sum(one.dialog_id in living for one in seen.sent)


async def _run(urls: list[str], api: Api, scenes: list[str]) -> list[str]:
    async with Crowd(api.url, size=1, processes=1) as crowd:
        people = await crowd.people(_PEOPLE)
    world = World(urls, api, Writers(api.url, people, _WRITERS))
    lines = [
        "| scene | seconds | sends/s | refused, then retried | slowest send s | longest silence s "
        "| registrations done / failed | messages by node |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes = []
    for name in scenes:
        before = await world.rows_by_node()
        start = time.monotonic()
        await SCENES[name](world)
        seconds = time.monotonic() - start
        seen = world.writers.ledger.since(start)
        lines.append(_line(name, seconds, seen, before, await world.rows_by_node()))
        print(lines[-1], flush=True)
        if SCENES[name] is kill:
            down = [one for one in seen.sent if start + 1 < one.acknowledged_at < start + _DOWN_S]
            living = await _on_living(world, seen._replace(sent=down))
            notes.append(
                f"From 1 to {_DOWN_S:.0f} s after the kill {len(down)} messages were "
                f"acknowledged, {living} of them in dialogs of other nodes."
            )
    await world.writers.stop()
    rows = await _fetch(
        urls[0], "SELECT dialog_id, id, from_user_id, client_id, content FROM message"
    )
    verdict = compare(world.writers.ledger, [tuple(row) for row in rows])
    notes.append("; ".join(f"{what}: {n:,}" for what, n in verdict.items()) + ".")
    if any(n for what, n in verdict.items() if what != "acknowledged"):
        raise Wrong(notes[-1])
    return [*lines, "", *notes]


@contextmanager
def _databases(dsns: list[str], shards: int) -> Iterator[list[str]]:
    """A fresh one on each server; dialogs on the first two workers."""
    urls = [urlsplit(dsn)._replace(path=f"/{_DATABASE}").geturl() for dsn in dsns]
    try:
        for dsn, url in zip(dsns, urls, strict=True):
            asyncio.run(_fetch(dsn, f"CREATE DATABASE {_DATABASE}"))
            asyncio.run(_fetch(url, "CREATE EXTENSION citus"))
        commands = [["add", _address(url)] for url in urls[1:3]]
        for argv in [*commands, ["init"], ["count", str(shards)]]:
            subprocess.run(
                [sys.executable, "-m", "hl_utils", "shards", *argv],
                check=True,
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": urls[0]},
                stdout=subprocess.DEVNULL,
            )
        yield urls
    finally:
        for dsn in dsns:
            asyncio.run(_fetch(dsn, f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)"))


def main() -> int:
    """Run, print, write; the exit status."""
    parser = argparse.ArgumentParser(prog="bench.citus", description=__doc__)
    parser.add_argument("dsns", nargs=4, metavar="DSN")
    parser.add_argument("--shards", type=int, default=8, help="at the start")
    parser.add_argument("--scene", action="append", choices=list(SCENES), help="default: all")
    report.add_out(parser, "citus")
    arguments = parser.parse_args()
    with (
        PostgresServer() as postgres,
        RedisServer() as redis,
        _databases(arguments.dsns, arguments.shards) as urls,
    ):
        postgres.psql("postgres", "-c", "CREATE DATABASE main")
        asyncio.run(migrations.apply(postgres.url("main"), queries.MAIN))
        with Api(postgres.url("main"), redis.url, DIALOGS_DATABASE_URL=urls[0]) as api:
            try:
                lines = asyncio.run(_run(urls, api, arguments.scene or list(SCENES)))
            except BaseException:
                sys.stderr.write(api.log[-3000:])
                raise
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores for all servers and the load; "
        f"{arguments.shards} shards at the start, {_WRITERS} writers, half of all messages are to "
        f"or from one user."
    )
    report.write_markdown(arguments.out, [head, "", *lines])
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
