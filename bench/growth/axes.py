"""Servers and databases of several sizes side by side, asked in turn."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, replace

import asyncpg
import uvloop

from bench import checks, load, processes, scenarios
from bench.contenders import CONTENDERS, OURS, Contender
from bench.database import seeded
from bench.growth import population
from bench.growth.figures import Sample
from bench.rounds import LOAD_CORE, Server, one_round, start_servers
from bench.scenarios import PAGE, Read, Sends
from hl_utils.servers.redis import RedisServer

# Answers from the response cache, as by default, and each of them read anew.
CACHED, ANEW = "cached", "read anew"
# Few where a request may take a tenth of a second: many would not be answered in a round.
CONNECTIONS, FEW_CONNECTIONS = 32, 8
# Distinct requests: as many at each size, so that as many of them meet in one statement.
DISTINCT, SEARCHES, VIEWERS, DIALOGS = 200, 10, 32, 4
# A dialog of these is long enough for a page.
_MESSAGES = 2 * PAGE
# Per user, as many at each size.
_MEANS = {"friends": 5, "posts": 3, "dialogs": 0.3}
_ONLY_POSTS = {"friends": 0, "posts": 4, "dialogs": 0}
_ONLY_USERS = {"friends": 0, "posts": 0, "dialogs": 0}
_SOME_USERS = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked at one size; `line` is its name in the plot."""

    line: str
    size: int
    server: Server
    database: asyncpg.Connection
    connections: int

    @property
    def scenario(self) -> str:
        """The only scenario of the axis."""
        return checks.SEND if self.server.sends is not None else self.line


@dataclass(frozen=True, slots=True)
class Setup:
    """A database and the services on it, by name: port and process id."""

    database: asyncpg.Connection
    services: dict[str, tuple[int, int]]

    def case(
        self,
        line: str,
        size: int,
        asked: list[Read] | Sends,
        *,
        service: str = CACHED,
        connections: int = CONNECTIONS,
    ) -> Case:
        """These reads or sends, of one of the services."""
        name, (port, pid) = f"{size:,}, {service}", self.services[service]
        if isinstance(asked, Sends):
            server = Server(name, port, pid, {}, asked)
        else:
            server = Server(name, port, pid, {line: asked}, None)
        return Case(line, size, server, self.database, connections)

    def cases(
        self, line: str, size: int, reads: list[Read], connections: int = CONNECTIONS
    ) -> list[Case]:
        """The reads of both, a line for each."""
        return [
            self.case(
                f"{line}, {name}",
                size,
                list(map(copy, reads)),
                service=name,
                connections=connections,
            )
            for name in (CACHED, ANEW)
        ]


def _service(name: str, **environment: str) -> Contender:
    return replace(CONTENDERS[OURS], name=name, environment=environment)


_BOTH = (_service(CACHED), _service(ANEW, HLFAST_TUNING__KEEP_BODIES="false"))


async def _set_up(
    stack: ExitStack, url: str, secret: str, services: Sequence[Contender] = _BOTH
) -> Setup:
    """The database, tidied up, with services on it that have just been started."""
    database = await asyncpg.connect(url)
    await population.tidy(database)
    redis = stack.enter_context(RedisServer())
    return Setup(database, start_servers(stack, services, url, redis.url, secret))


@contextmanager
def _pinned() -> Iterator[None]:
    """This process, and what it starts, on the load's core; everything before on both."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


async def measure(axis: str, cases: Sequence[Case], options: argparse.Namespace) -> list[Sample]:
    """Every request once, then the rounds: the sizes of a line in turn. Raises WrongAnswer."""
    postgres_pids: dict[asyncpg.Connection, int] = {}
    for case in cases:
        if case.database not in postgres_pids:
            backend = await case.database.fetchval("SELECT pg_backend_pid()")
            postgres_pids[case.database] = processes.parent(backend)
            processes.pin(postgres_pids[case.database], LOAD_CORE)
        for reads in case.server.reads.values():
            await load.exhaust(case.server.port, [iter(reads)])
    samples: list[Sample] = []
    for line in dict.fromkeys(case.line for case in cases):
        sizes = [case for case in cases if case.line == line]
        for number in range(1, options.rounds + 1):
            for case in sizes if number % 2 else sizes[::-1]:
                found = await one_round(
                    case.database,
                    case.server,
                    case.scenario,
                    number,
                    argparse.Namespace(**{**vars(options), "connections": case.connections}),
                    postgres_pids[case.database],
                )
                samples.append(Sample.of(axis, line, case.size, found))
                print(samples[-1], flush=True)
    return samples


def users(sizes: Sequence[int], options: argparse.Namespace, secret: str) -> list[Sample]:
    """The cost of requests among more users, who have as many friends, posts and dialogs each."""

    async def run(stack: ExitStack, urls: dict[int, str]) -> list[Sample]:
        cases: list[Case] = []
        letters: list[population.Prefix] = []
        for size, url in urls.items():
            database, chance = await asyncpg.connect(url), random.Random(1)
            # The same at each size: what fills a page in the smallest.
            letters = letters or await population.letters(database, SEARCHES)
            names = await population.namesakes(database, SEARCHES, chance)
            dialogs = await population.converse(database, [_MESSAGES], DISTINCT, chance)
            setup = await _set_up(stack, url, secret)
            reads = await scenarios.user_by_id(database, DISTINCT, chance)
            cases += setup.cases(checks.USER, size, reads)
            for line, wanted in (
                ("search for a letter", letters),
                (f"search that {PAGE} users match", names),
            ):
                cases.append(setup.case(line, size, await population.searches(database, wanted)))
            reads = await scenarios.feed(database, DISTINCT, chance, secret)
            cases += setup.cases(checks.FEED, size, reads)
            reads = await scenarios.dialog_page(
                database, DISTINCT, chance, secret, dialogs[_MESSAGES]
            )
            cases += setup.cases(checks.DIALOG, size, reads)
            sends = await scenarios.sends(database, DISTINCT, chance, secret)
            cases.append(setup.case(checks.SEND, size, sends))
            await database.close()
        return await measure("users", cases, options)

    with ExitStack() as stack:
        urls = {size: stack.enter_context(seeded(None, users=size, means=_MEANS)) for size in sizes}
        stack.enter_context(_pinned())
        return uvloop.run(run(stack, urls))


def friends(sizes: Sequence[int], options: argparse.Namespace, secret: str) -> list[Sample]:
    """Feeds of users with more friends."""

    async def run(stack: ExitStack, url: str) -> list[Sample]:
        database, chance = await asyncpg.connect(url), random.Random(1)
        viewers = await population.befriend(database, sizes, VIEWERS, chance)
        await database.close()
        setup = await _set_up(stack, url, secret)
        cases: list[Case] = []
        for size, ids in viewers.items():
            reads = await scenarios.feed(setup.database, VIEWERS, chance, secret, ids)
            cases += setup.cases(checks.FEED, size, reads, connections=FEW_CONNECTIONS)
        return await measure("friends", cases, options)

    with ExitStack() as stack:
        # Of whom most have posts enough to be a friend.
        count = _SOME_USERS + 3 * max(sizes) // 2
        url = stack.enter_context(seeded(None, users=count, means=_ONLY_POSTS))
        stack.enter_context(_pinned())
        return uvloop.run(run(stack, url))


def messages(sizes: Sequence[int], options: argparse.Namespace, secret: str) -> list[Sample]:
    """Dialogs with more messages: first read, then written to."""

    async def run(stack: ExitStack, url: str) -> list[Sample]:
        database, chance = await asyncpg.connect(url), random.Random(1)
        dialogs = await population.converse(database, sizes, DIALOGS, chance)
        await database.close()
        setup = await _set_up(stack, url, secret)
        cases: list[Case] = []
        for size, ids in dialogs.items():
            reads = await scenarios.dialog_page(setup.database, DIALOGS, chance, secret, ids)
            cases += setup.cases(checks.DIALOG, size, reads, connections=FEW_CONNECTIONS)
        for size, ids in dialogs.items():
            sends = await population.sends(setup.database, ids, secret)
            # As many as there are dialogs: each is written to by one.
            cases.append(setup.case(checks.SEND, size, sends, connections=DIALOGS))
        return await measure("messages", cases, options)

    with ExitStack() as stack:
        url = stack.enter_context(seeded(None, users=_SOME_USERS, means=_ONLY_USERS))
        stack.enter_context(_pinned())
        return uvloop.run(run(stack, url))


def workers(sizes: Sequence[int], options: argparse.Namespace, secret: str) -> list[Sample]:
    """More processes of one service, all of them on one core: the other one is the load's.

    As many connections for each of them, so that as many requests meet in one statement.
    """

    async def run(stack: ExitStack, url: str) -> list[Sample]:
        services = [_service(str(size), HLFAST_WORKERS=str(size)) for size in sizes]
        setup = await _set_up(stack, url, secret, services)
        cases: list[Case] = []
        for size in sizes:
            chance = random.Random(1)
            asked = {
                checks.USER: await scenarios.user_by_id(setup.database, DISTINCT, chance),
                checks.FEED: await scenarios.feed(setup.database, DISTINCT, chance, secret),
            }
            cases += [
                setup.case(line, size, reads, service=str(size), connections=CONNECTIONS * size)
                for line, reads in asked.items()
            ]
        return await measure("workers", cases, options)

    with ExitStack() as stack:
        url = stack.enter_context(seeded(None, users=_SOME_USERS, means=_MEANS))
        stack.enter_context(_pinned())
        return uvloop.run(run(stack, url))
