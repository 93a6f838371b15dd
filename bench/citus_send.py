"""What a message and a page of a dialog cost on one PostgreSQL and on Citus.

`python -m bench.citus_send DSN DSN DSN`: of a coordinator and two workers with Citus, on this
machine, as a user who may create databases. Four ways, each in databases of its own, in turn and
over again: one PostgreSQL (the coordinator's server, not distributed); dialogs by dialog_id with
the function run on the worker; the same run on the coordinator; and messages by their own id, the
naive way. A fifth asks the worker that holds the dialog straight. Each send must give the next id.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg

from bench import report
from bench.processes import cpu_s
from hl_utils.shards import distribution, operations
from hl_utils.shards.cluster import Address, Cluster
from hlfast.db import migrations, queries
from hlfast.db.postgres import SERVER_SETTINGS
from hlfast.dialogs.dialog_ids import dialog_id, users_of

_STATEMENTS = queries.load("postgres", queries.DIALOGS)
_DIALOGS = 400
_MESSAGES = 20
_CONNECTIONS = 8
_ROUND_S = 2.0
_ROUNDS = 3

# Message ids from one sequence of the coordinator, spread by it: an INSERT is one task, a page is
# one for each shard. It keeps no counts, no marks and no outbox.
_NAIVE = """
CREATE SEQUENCE naive_id;
CREATE TABLE naive (
    id bigint PRIMARY KEY, dialog_id bigint NOT NULL, from_user_id integer NOT NULL,
    content text NOT NULL, created_at timestamptz NOT NULL
);
CREATE INDEX ON naive (dialog_id, id);
SELECT create_distributed_table('naive', 'id', shard_count => 32);
"""
_NAIVE_SEND = "INSERT INTO naive VALUES ($1, $2, $3, $4, clock_timestamp())"
_NAIVE_PAGE = "SELECT * FROM naive WHERE dialog_id = $1 ORDER BY id DESC LIMIT 20"


class Way(NamedTuple):
    """One way to keep dialogs. Both take a connection of `url_of(dialog)`, the dialog, a count."""

    name: str
    url_of: Callable[[int], str]
    send: Callable[[asyncpg.Connection, int], Awaitable[object]]
    page: Callable[[asyncpg.Connection, int], Awaitable[object]]


class Round(NamedTuple):
    """Times in seconds; `cpu_s` of each server."""

    latencies_s: list[float]
    seconds: float
    cpu_s: list[float]


def _dialogs() -> list[int]:
    random = Random(1)
    return [dialog_id(one, random.randrange(10**6, 10**7)) for one in range(1, _DIALOGS + 1)]


async def _send(connection: asyncpg.Connection, dialog: int) -> object:
    row = await connection.fetchrow(
        _STATEMENTS["dialog_send"], dialog, *users_of(dialog), "a text of some words", None, True
    )
    assert row["outcome"] == "sent"
    return row["id"]


async def _page(connection: asyncpg.Connection, dialog: int) -> object:
    rows = await connection.fetch(_STATEMENTS["dialog_page_before"], dialog, 2**53, 20)
    assert len(rows) == 20
    return rows


async def _naive_send(connection: asyncpg.Connection, dialog: int) -> object:
    number = await connection.fetchval("SELECT nextval('naive_id')")
    return await connection.execute(
        _NAIVE_SEND, number, dialog, users_of(dialog)[0], "a text of some words"
    )


async def _naive_page(connection: asyncpg.Connection, dialog: int) -> object:
    rows = await connection.fetch(_NAIVE_PAGE, dialog)
    assert len(rows) == 20
    return rows


async def _fill(way: Way) -> None:
    connection = await asyncpg.connect(way.url_of(_dialogs()[0]), server_settings=SERVER_SETTINGS)
    for dialog in _dialogs():
        for _ in range(_MESSAGES):
            await way.send(connection, dialog)
    await connection.close()


async def _measure(
    way: Way, act: Callable[[asyncpg.Connection, int], Awaitable[object]], servers: list[int]
) -> Round:
    """A closed loop on each connection, over dialogs of its own."""
    latencies: list[float] = []
    end = 0.0

    async def loop(number: int) -> None:
        mine = _dialogs()[number::_CONNECTIONS]
        urls = {way.url_of(dialog) for dialog in mine}
        connections = {
            url: await asyncpg.connect(url, server_settings=SERVER_SETTINGS) for url in urls
        }
        for dialog in mine[:8]:
            await act(connections[way.url_of(dialog)], dialog)
        ready.release()
        await go.wait()
        count = 0
        while (start := time.perf_counter()) < end:
            dialog = mine[count % len(mine)]
            await act(connections[way.url_of(dialog)], dialog)
            latencies.append(time.perf_counter() - start)
            count += 1
        for connection in connections.values():
            await connection.close()

    ready, go = asyncio.Semaphore(0), asyncio.Event()
    tasks = [asyncio.create_task(loop(number)) for number in range(_CONNECTIONS)]
    for _ in tasks:
        await ready.acquire()
    before = list(map(cpu_s, servers))
    start = time.perf_counter()
    end = start + _ROUND_S
    go.set()
    await asyncio.sleep(_ROUND_S)
    used = [after - was for after, was in zip(map(cpu_s, servers), before, strict=True)]
    await asyncio.gather(*tasks)
    return Round(latencies, _ROUND_S, used)


async def _distribute(url: str, workers: list[str], *, delegate: bool) -> None:
    await migrations.apply(url, queries.DIALOGS)
    connection = await asyncpg.connect(url)
    cluster = Cluster(connection)
    own = urlsplit(url)
    coordinator = Address(str(own.hostname), own.port or 5432)
    for worker in workers:
        at = urlsplit(worker)
        address = Address(str(at.hostname), at.port or 5432)
        for step in (await operations.add(cluster, coordinator, address)).steps:
            await cluster.change(step.statement, *step.args)
    async with connection.transaction():
        for step in (await distribution.init(cluster, coordinator, reference_user=False)).steps:
            if step.statement != "delegate" or delegate:
                await cluster.change(step.statement, *step.args)
    await connection.close()


async def _homes(url: str, workers: list[str]) -> dict[int, str]:
    """The worker's URL of each dialog."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT d, nodeport FROM unnest($1::bigint[]) AS d JOIN pg_dist_placement AS p "
        "ON p.shardid = get_shard_id_for_distribution_column('dialog', d) "
        "JOIN pg_dist_node USING (groupid)",
        _dialogs(),
    )
    await connection.close()
    by_port = {urlsplit(worker).port or 5432: worker for worker in workers}
    return {row["d"]: by_port[row["nodeport"]] for row in rows}


@contextmanager
def _databases(dsns: list[str], kind: str, *, citus: bool) -> Iterator[list[str]]:
    name = f"hlfast_send_{os.getpid()}_{kind}"
    urls = [urlsplit(dsn)._replace(path=f"/{name}").geturl() for dsn in dsns]

    async def run(url: str, sql: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(sql)
        await connection.close()

    try:
        for dsn, url in zip(dsns, urls, strict=True):
            asyncio.run(run(dsn, f"CREATE DATABASE {name}"))
            if citus:
                asyncio.run(run(url, "CREATE EXTENSION citus"))
        yield urls
    finally:
        for dsn in dsns:
            asyncio.run(run(dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _postmaster(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    directory = await connection.fetchval("SELECT current_setting('data_directory')")
    await connection.close()
    return int((Path(directory) / "postmaster.pid").read_text().split()[0])


async def _ways(plain: str, delegated: list[str], pulled: list[str], naive: list[str]) -> list[Way]:
    await migrations.apply(plain, queries.DIALOGS)
    await _distribute(delegated[0], delegated[1:], delegate=True)
    await _distribute(pulled[0], pulled[1:], delegate=False)
    await _distribute(naive[0], naive[1:], delegate=False)
    connection = await asyncpg.connect(naive[0])
    await connection.execute(_NAIVE)
    await connection.close()
    homes = await _homes(delegated[0], delegated[1:])
    return [
        Way("one PostgreSQL", lambda _: plain, _send, _page),
        Way("Citus, function on the worker", lambda _: delegated[0], _send, _page),
        Way("Citus, function on the coordinator", lambda _: pulled[0], _send, _page),
        Way("Citus, by message id", lambda _: naive[0], _naive_send, _naive_page),
        Way("Citus, straight to the worker", homes.__getitem__, _send, _page),
    ]


async def _run(
    dsns: list[str], plain: str, delegated: list[str], pulled: list[str], naive: list[str]
) -> list[str]:
    ways = await _ways(plain, delegated, pulled, naive)
    for way in ways[:4]:
        await _fill(way)
    servers = [await _postmaster(dsn) for dsn in dsns]
    seen: dict[tuple[str, str], list[Round]] = defaultdict(list)
    for number in range(_ROUNDS):
        for way in ways if number % 2 == 0 else ways[::-1]:
            seen[way.name, "send"].append(await _measure(way, way.send, servers))
            seen[way.name, "page"].append(await _measure(way, way.page, servers))
    names = ["coordinator", *(f"worker {n}" for n in range(1, len(servers)))]
    lines = [
        f"| way | what | a second | p50 ms | p99 ms | {' | '.join(f'µs {n}' for n in names)} |",
        "| --- | --- | --- | --- | --- |" + " --- |" * len(names),
    ]
    return lines + [
        _line(way.name, what, seen[way.name, what]) for what in ("send", "page") for way in ways
    ]


def _line(name: str, what: str, rounds: list[Round]) -> str:
    rate = median(len(one.latencies_s) / one.seconds for one in rounds)
    ordered = sorted(time for one in rounds for time in one.latencies_s)
    total = len(ordered)
    cpu = [sum(times) / total * 1e6 for times in zip(*(one.cpu_s for one in rounds), strict=True)]
    cells = [
        name,
        what,
        f"{rate:,.0f}",
        f"{ordered[total // 2] * 1e3:.1f}",
        f"{ordered[int(total * 0.99)] * 1e3:.1f}",
        *(f"{one:,.0f}" for one in cpu),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(prog="bench.citus_send", description=__doc__)
    parser.add_argument("dsns", nargs=3, metavar="DSN")
    report.add_out(parser, "citus_send")
    arguments = parser.parse_args()
    dsns = arguments.dsns
    with ExitStack() as stack:
        (plain,) = stack.enter_context(_databases(dsns[:1], "plain", citus=False))
        kinds = [
            stack.enter_context(_databases(dsns, kind, citus=True))
            for kind in ("delegated", "pulled", "naive")
        ]
        lines = asyncio.run(_run(dsns, plain, *kinds))
    head = (
        f"{os.cpu_count()} cores for all servers and the load; {_CONNECTIONS} connections in a "
        f"closed loop, {_ROUNDS} rounds of {_ROUND_S:.0f} s, in turn; µs: CPU time of a server for "
        "each request."
    )
    report.write_markdown(arguments.out, [head, "", *lines])
    print("\n".join([head, "", *lines]))


if __name__ == "__main__":
    main()
