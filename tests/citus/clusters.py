"""A fresh database on every node of the cluster that CITUS_TEST_DSNS names."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from hl_utils.servers.process import ROOT

_numbers = itertools.count(1)


def dsns() -> list[str]:
    """Of the coordinator first, then of the workers; empty where the variable is not set."""
    return re.split(r"[\s,]+", os.environ.get("CITUS_TEST_DSNS", "").strip()) if _is_set() else []


def _is_set() -> bool:
    return bool(os.environ.get("CITUS_TEST_DSNS", "").strip())


def at(url: str) -> str:
    """`host:port` of a DSN."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """`urls`: the coordinator's first; the workers were not added."""

    urls: list[str]

    @property
    def url(self) -> str:
        """The coordinator."""
        return self.urls[0]

    @property
    def workers(self) -> list[str]:
        """`host:port` of each."""
        return [at(url) for url in self.urls[1:]]

    def hlfast(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """An `hlfast` command that talks to the coordinator."""
        return subprocess.run(
            [sys.executable, "-m", "hl_utils", *argv],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "COLUMNS": "120",
                "DATABASE_URL": self.url,
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def shards(self, *argv: str) -> str:
        """What `hlfast shards` printed; it must succeed."""
        done = self.hlfast("shards", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *argv: str) -> str:
        """The one line of a refusal."""
        done = self.hlfast("shards", *argv)
        assert done.returncode == 1, done.stdout
        assert done.stderr.startswith("hlfast shards: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def ask(self, sql: str, *args: Any) -> list[Any]:
        """Rows from the coordinator."""
        return ask(self.url, sql, *args)

    def spread(self) -> list[int]:
        """How many shards of dialog each node holds that holds any."""
        return sorted(
            row["n"]
            for row in self.ask(
                "SELECT count(*) AS n FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) "
                "WHERE logicalrelid = 'dialog'::regclass GROUP BY groupid"
            )
        )


def run(url: str, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]]) -> Any:
    """The result of `work` on a connection."""

    async def connected() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


def ask(url: str, sql: str, *args: Any) -> list[Any]:
    """Rows of a statement."""
    return list(run(url, lambda connection: connection.fetch(sql, *args)))


def execute(url: str, sql: str) -> None:
    """Statements one after the other."""
    run(url, lambda connection: connection.execute(sql))


@contextmanager
def away(url: str) -> Iterator[None]:
    """Nobody gets in, and who was in is out."""
    server = next(dsn for dsn in dsns() if at(dsn) == at(url))
    name = urlsplit(url).path[1:]
    ask(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        ask(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname=$1", name)
        yield
    finally:
        ask(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def silent(cluster: Cluster, url: str) -> Iterator[socket.socket]:
    """The coordinator finds something at its address that never answers."""
    host, _, port = at(url).rpartition(":")
    # Where this process is, as the coordinator sees it; on a unix socket it sees nothing.
    (here,) = cluster.ask("SELECT coalesce(host(inet_client_addr()), '127.0.0.1') AS host")
    move = (
        "UPDATE pg_dist_node SET nodename = $1, nodeport = $2 WHERE nodename = $3 AND nodeport = $4"
    )
    with socket.create_server((here["host"], 0)) as mute:
        mute_port = mute.getsockname()[1]
        cluster.ask(move, here["host"], mute_port, host, int(port))
        try:
            with away(url):
                yield mute
        finally:
            cluster.ask(move, host, int(port), here["host"], mute_port)


@contextmanager
def fresh() -> Iterator[Cluster]:
    """Fresh databases with Citus, gone afterwards."""
    name = f"hlfast_test_{os.getpid()}_{next(_numbers)}"
    urls = []
    try:
        for server in dsns():
            execute(server, f"CREATE DATABASE {name}")
            url = urlsplit(server)._replace(path=f"/{name}").geturl()
            urls.append(url)
            execute(url, "CREATE EXTENSION citus")
        yield Cluster(urls)
    finally:
        for server in dsns():
            with suppress(asyncpg.PostgresError):
                execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
