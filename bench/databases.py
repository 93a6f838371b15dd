"""This service on PostgreSQL and on MariaDB, in one run of interleaved rounds.

    python -m bench.databases [--users 10000] [--publish]

One server process on core 0; the databases, Redis and the load on core 1. Both databases hold the
same population, so both servers must give the same bytes. The exit status is 1 if any answer was
wrong. See bench/README.md for the method.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench import checks, load, processes, report, scenarios
from bench.database import seeded
from bench.report import Round
from bench.rounds import (
    DIALOGS_WRITTEN,
    DISTINCT,
    LOAD_CORE,
    MEANS,
    SERVER_CORE,
    Server,
    one_round,
)
from hl_utils.servers.process import free_port
from hl_utils.servers.redis import RedisServer
from hlfast.db import mysql

POSTGRES, MARIADB = "PostgreSQL", "MariaDB"
DIALECTS = {POSTGRES: "postgres", MARIADB: "mysql"}


class MysqlReader:
    """What `checks` needs of asyncpg's connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """The rows of a named statement."""
        return await mysql.query(self._connection, mysql.Statement(sql).with_arguments(arguments))

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return (await self.fetch(sql, *arguments))[0][0]

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Side:
    """A server, and a look into its database."""

    server: Server
    database: Any
    database_pid: int


async def _mysql(url: str) -> tuple[MysqlReader, int]:
    """A reader, and the server's process id."""
    reader = MysqlReader(await mysql.connect(url))
    await reader.fetch("SET SESSION sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')")
    pid_file = Path(await reader.fetchval("SELECT @@pid_file"))
    return reader, int(await asyncio.to_thread(pid_file.read_text))


async def _postgres(url: str) -> tuple[asyncpg.Connection, int]:
    connection = await asyncpg.connect(url)
    return connection, processes.parent(await connection.fetchval("SELECT pg_backend_pid()"))


async def compare(
    options: argparse.Namespace,
    urls: dict[str, str],
    servers: dict[str, tuple[int, int]],
    secret: str,
) -> tuple[list[Round], dict[str, str]]:
    """All rounds, and the versions of the databases. Raises WrongAnswer."""
    looks = {
        POSTGRES: await _postgres(urls[POSTGRES]),
        MARIADB: await _mysql(urls[MARIADB]),
    }
    answers = looks[POSTGRES][0]  # right for both, until something is written
    sides = []
    for name, (database, pid) in looks.items():
        processes.pin(pid, LOAD_CORE)
        reads = await checks.reads(answers, DISTINCT, random.Random(1), secret)
        sends = await scenarios.sends(answers, DIALOGS_WRITTEN, random.Random(2), secret)
        sides.append(Side(Server(name, *servers[name], reads, sends), database, pid))
    for side in sides:
        server = side.server
        await checks.everything_once(side.database, server.port, server.reads, server.sends)
    checks.same_bytes(sides[0].server.reads, sides[1].server.reads)
    print("Every answer on both databases is right, and the same bytes.", flush=True)
    rounds: list[Round] = []
    for number in range(1, options.rounds + 1):
        for scenario in checks.SCENARIOS:
            # A B, B A, …: what drifts with time favours neither.
            for side in sides if number % 2 else sides[::-1]:
                found = await one_round(
                    side.database, side.server, scenario, number, options, side.database_pid
                )
                rounds.append(found)
                print(
                    f"{number}/{options.rounds} {scenario}, {side.server.name}: "
                    f"{found.requests_per_s:,.0f}/s, {found.server_cpu_us:.0f} µs, "
                    f"database {found.postgres_cpu_us:.0f} µs",
                    flush=True,
                )
    versions = {
        POSTGRES: await looks[POSTGRES][0].fetchval("SHOW server_version"),
        MARIADB: await looks[MARIADB][0].fetchval("SELECT VERSION()"),
    }
    for database, _ in looks.values():
        await database.close()
    return rounds, versions


def _servers(stack: ExitStack, urls: dict[str, str], secret: str) -> Iterator[tuple[str, int, int]]:
    """Name, port and process id of the service on each database."""
    redis = stack.enter_context(RedisServer())
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for name, url in urls.items():
        port = free_port()
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "HLFAST_SECRET": secret,
            "HLFAST_WORKERS": "1",
            "HLFAST_HTTP_PORT": str(port),
            "HLFAST_EVENTS_NAME": name.lower(),
        }
        argv = [sys.executable, "-m", "hl_utils", "api"]
        pid = stack.enter_context(
            processes.server(argv, environment, port=port, core=SERVER_CORE, log=logs / name)
        )
        yield name, port, pid


def main() -> int:
    """Run every database, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000, help="seeded in either database")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each round")
    report.add_out(parser, "databases")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    secret = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(
                seeded(None, users=options.users, means=MEANS, dialect=dialect)
            )
            for name, dialect in DIALECTS.items()
        }
        try:
            servers = {name: (port, pid) for name, port, pid in _servers(stack, urls, secret)}
            rounds, versions = uvloop.run(compare(options, urls, servers, secret))
        except (load.WrongAnswer, RuntimeError, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    drivers = {name: metadata.version(name) for name in ("aiomysql", "pymysql")}
    facts = report.machine() | drivers | versions | {"users": f"{options.users:,}"}
    method = (
        f"{options.connections} keep-alive connections in a closed loop, {options.rounds} rounds "
        f"of {options.seconds:g} s after {options.warm_up:g} s of warm-up, alternating; one "
        f"process of the service on core {SERVER_CORE}, databases and load on core {LOAD_CORE}; "
        "ratios of neighbouring rounds: median (lowest..highest). Every answer checked."
    )
    lines = report.table(rounds, MARIADB)
    report.write(options.out, facts, method, lines, [asdict(one) for one in rounds])
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
