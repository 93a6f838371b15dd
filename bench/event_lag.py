"""How late a friend sees what one author writes through two processes at once.

    python -m bench.event_lag [--rates 300 600 1200] [--seconds 10] [--through haproxy] [--publish]

Two API processes, one node, PostgreSQL, and a Redis that confirms what is on disk, all on this
machine; `--through haproxy` puts HAProxy with the project's file before processes and node. An
author's posts commit one after the other; so that the disk does not bound their rate, PostgreSQL
answers before it has written (`synchronous_commit` off). One author posts at a steady rate over
connections of both processes in turn, one friend listens. The lag of a post is from its answer to
its frame at the friend. Every post must come, once, in the order of the ids. The exit status is 1
if one did not, or if any of them needed the sweep of what dead processes leave.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from urllib.request import urlopen

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from bench import report
from bench.crowd import Crowd, Line, Person
from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import Api, Node
from hlfast.db import migrations, queries

NAME = "event_lag"
PROCESSES = 2
LINES = 32
# What did not come by then is lost.
ARRIVAL_TIMEOUT_S = 60.0
ANSWERED = "hlfast_requests_total"
# Of the requests behind HAProxy each process gets at least so many.
SHARE_MIN = 0.25
SWEPT = "hlfast_outbox_swept_rows_total"
REPEATED = 'hlfast_ws_events_total{kind="repeated"}'


class Wrong(Exception):
    """A post did not come, or not in its order."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one rate showed. Lags in milliseconds."""

    asked_per_s: float
    posts_per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    swept: int
    repeated_per_post: float


@dataclass(frozen=True, slots=True)
class Service:
    """The processes and the node, and where clients find them.

    `spread_over`: how many processes a client's own connections are spread over.
    """

    apis: Sequence[Api]
    node: Node
    url: str
    ws_url: str
    spread_over: int

    def counted(self, series: str) -> list[int]:
        """What each API's /metrics says of a series."""
        return [counted(api.url, series) for api in self.apis]


@contextmanager
def served(database_url: str, redis_url: str, through: str | None) -> Iterator[Service]:
    """Two processes: one API with two workers, or two APIs behind HAProxy."""
    with ExitStack() as stack:
        node = stack.enter_context(Node(database_url, redis_url))
        if through is None:
            api = stack.enter_context(Api(database_url, redis_url, HLFAST_WORKERS=PROCESSES))
            yield Service([api], node, api.url, node.ws_url, PROCESSES)
            return
        trusts = {"HLFAST_TRUSTED_PROXIES": "127.0.0.1"}
        apis = [
            stack.enter_context(Api(database_url, redis_url, **trusts)) for _ in range(PROCESSES)
        ]
        proxy = stack.enter_context(Proxy([api.port for api in apis], [node.port]))
        proxy.wait_until_up()
        yield Service(apis, node, proxy.url, proxy.ws_url, 1)


def counted(url: str, series: str) -> int:
    """What /metrics says of a series, over all of its labels unless some are named."""
    with urlopen(f"{url}/metrics") as answer:  # noqa: S310 (our own server)
        text = answer.read().decode()
    found = re.findall(rf"^{re.escape(series)}(?:\{{.*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return round(sum(map(float, found)))


async def write(crowd: Crowd, author: Person, rate: float, seconds: float) -> dict[int, float]:
    """When each post was answered, by id, at a steady rate as far as the service keeps up."""
    free: asyncio.Queue[Line] = asyncio.Queue()
    for line in crowd.lines:
        free.put_nowait(line)
    answered: dict[int, float] = {}

    async def post(line: Line) -> None:
        answer = await line.ask(author.ask("POST", "/posts", {"content": "x" * 100}))
        if answer.status != 201:
            raise Wrong(f"a post was answered with {answer.status}")
        answered[answer.json["id"]] = time.perf_counter()
        free.put_nowait(line)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            ahead_s = begun + number / rate - time.perf_counter()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            group.create_task(post(await free.get()))
    return answered


async def listen(friend: ClientConnection, arrived: dict[int, float]) -> None:
    """When each post came, by id, in the order of arrival. Raises Wrong for a repeat."""
    async for text in friend:
        frame = json.loads(text)
        if frame["type"] == "post.created":
            if frame["post"]["id"] in arrived:
                raise Wrong("a post came twice")
            arrived[frame["post"]["id"]] = time.perf_counter()


async def run(service: Service, rate: float, seconds: float) -> Run:
    """One author and one friend at this rate. Raises Wrong."""
    repeated = counted(service.node.url, REPEATED)
    swept, taken = service.counted(SWEPT), service.counted(ANSWERED)
    async with Crowd(service.url, LINES, service.spread_over) as crowd:
        author, friend = await crowd.people(2)
        await crowd.befriend(author, friend)
        async with connect(f"{service.ws_url}?token={friend.token}", proxy=None) as socket:
            # No event comes before `hello`.
            await socket.recv()
            arrived: dict[int, float] = {}
            listening = asyncio.create_task(listen(socket, arrived))
            begun = time.perf_counter()
            answered = await write(crowd, author, rate, seconds)
            took_s = time.perf_counter() - begun
            deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
            while len(arrived) < len(answered) and not listening.done():
                if time.monotonic() > deadline:
                    raise Wrong(f"{len(answered) - len(arrived)} posts did not come")
                await asyncio.sleep(0.01)
            if listening.done():
                listening.result()
            listening.cancel()
    if list(arrived) != sorted(answered):
        raise Wrong("posts came out of order")
    taken = [now - before for now, before in zip(service.counted(ANSWERED), taken, strict=True)]
    if len(taken) > 1 and min(taken) < SHARE_MIN * sum(taken):
        raise Wrong(f"one process had nearly all requests: {taken}")
    lags_ms = sorted(max(0.0, arrived[post] - at) * 1e3 for post, at in answered.items())
    return Run(
        rate,
        len(answered) / took_s,
        median(lags_ms),
        lags_ms[int(len(lags_ms) * 0.99)],
        lags_ms[-1],
        sum(service.counted(SWEPT)) - sum(swept),
        (counted(service.node.url, REPEATED) - repeated) / len(answered),
    )


def table(runs: list[Run]) -> list[str]:
    """One line for each rate."""
    lines = [
        "| posts/s asked for | posts/s | lag p50, ms | p99, ms | longest, ms | swept "
        "| repeats a post |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.asked_per_s:,.0f} | {one.posts_per_s:,.0f} | {one.p50_ms:,.0f} "
        f"| {one.p99_ms:,.0f} | {one.longest_ms:,.0f} | {one.swept} "
        f"| {one.repeated_per_post:.2f} |"
        for one in runs
    ]
    return lines


def main() -> int:
    """Print a table; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[300, 600, 1200])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--through", choices=["haproxy"], help="what stands before the processes")
    report.add_out(parser, NAME)
    arguments = parser.parse_args()
    runs: list[Run] = []
    with PostgresServer() as database, LogRedisServer() as redis:
        database.create_database("lag")
        url = database.url("lag")
        database.psql("lag", "-c", "ALTER DATABASE lag SET synchronous_commit = off")
        for part in (queries.MAIN, queries.DIALOGS):
            asyncio.run(migrations.apply(url, part))
        with served(url, redis.url, arguments.through) as service:
            for rate in arguments.rates:
                try:
                    runs.append(uvloop.run(run(service, rate, arguments.seconds)))
                except Wrong as wrong:
                    print(f"{rate:.0f} a second: {wrong}")
                    return 1
            facts = report.machine() | asyncio.run(report.database_facts(url))
    through = f" through {arguments.through}" if arguments.through else ""
    method = f"{PROCESSES} processes{through}, {LINES} connections, {arguments.seconds:g} s each."
    report.write(arguments.out, facts, method, table(runs), [asdict(one) for one in runs])
    print("\n".join(table(runs)))
    return int(any(one.swept for one in runs))


if __name__ == "__main__":
    sys.exit(main())
