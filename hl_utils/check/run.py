"""Every look, all at once, each with its bound of time."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import aiomysql
import asyncpg
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from redis.exceptions import RedisError

from hl_utils.check import (
    databases,
    environment,
    finding,
    haproxy,
    limits,
    mysql,
    passwords,
    postgres,
    rabbitmq,
    redis,
    report,
    schema,
)
from hl_utils.check.databases import Processes, Seen, Watched
from hl_utils.check.finding import UNREACHABLE, UNSET, Answers, Finding
from hlfast.db import queries
from hlfast.errors import HlfastError
from hlfast.settings import Settings, SettingsError

KINDS = (
    *finding.COMMON,
    *databases.KINDS,
    *postgres.KINDS,
    *mysql.KINDS,
    *schema.KINDS,
    *redis.KINDS,
    *rabbitmq.KINDS,
    *limits.KINDS,
    *environment.KINDS,
    *passwords.KINDS,
    *haproxy.KINDS,
)
HAPROXY = passwords.ROOT / "haproxy" / "haproxy.cfg"
LOOK_TIMEOUT_S = 6.0
# What closing its connection may take one that was given up.
_LEAVE_TIMEOUT_S = 2.0
_FAILURES = (
    HlfastError,
    SettingsError,
    aiomysql.MySQLError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    RedisError,
    ValueError,
    *CONNECTION_EXCEPTIONS,
)


def check(
    settings: Settings, processes: Processes, haproxy_file: Path | None = None, *, json: bool
) -> int:
    """Print what is wrong; the exit code: 1 if an error is among it.

    `haproxy_file` is by default the repository's own, if it is there.
    """
    if haproxy_file is None and HAPROXY.exists():
        haproxy_file = HAPROXY
    # What libraries say of a server that does not answer is a finding already.
    logging.disable()
    try:
        answers = asyncio.run(_look_everywhere(settings, processes))
    finally:
        logging.disable(logging.NOTSET)
    answers += [*limits.look(settings), *environment.look(settings), *passwords.look(settings)]
    if haproxy_file is not None:
        answers += haproxy.look(haproxy_file, settings.ws_ping_s, settings.ws_port)
    findings = [answer for answer in answers if answer is not None]
    findings.sort(key=lambda one: one.level)  # errors first
    if json:
        print(report.as_json(findings))
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print(report.as_text(findings, len(answers), columns=columns))
    return int(any(one.level == "error" for one in findings))


async def _look_everywhere(settings: Settings, processes: Processes) -> list[Finding | None]:
    watched = [one for one in databases.watched(settings, processes) if one.url]
    looks = await asyncio.gather(
        *(_bounded(one.subject, partial(_database, one)) for one in watched),
        *(_bounded(subject, look) for subject, look in _brokers(settings)),
    )
    answers: list[Finding | None] = [
        UNSET.unless(bool(settings.database_url), "database", "DATABASE_URL is not set"),
        UNSET.unless(bool(settings.redis_url), "redis", "REDIS_URL is not set"),
    ]
    seen = []
    for look in looks:
        if isinstance(look, Seen):
            seen.append(look)
        else:
            answers += look
    about_all = (databases.findings, databases.replicas, databases.connections)
    return answers + [answer for ask in about_all for answer in ask(seen)]


async def _database(watched: Watched) -> Seen:
    if queries.dialect_of(watched.url) == "mysql":
        return await mysql.look(watched)
    return await postgres.look(watched)


def _brokers(settings: Settings) -> Iterator[tuple[str, Callable[[], Awaitable[Answers]]]]:
    """Subject and look of Redis and of the event log, which may be the same."""
    events_url = settings.events_url or settings.redis_url
    if settings.redis_url:
        holds_log = events_url == settings.redis_url
        look = partial(redis.look, "redis", settings.redis_url, LOOK_TIMEOUT_S)
        yield "redis", partial(look, holds_log=holds_log)
    if events_url == settings.redis_url:
        return
    if events_url.partition(":")[0] in ("amqp", "amqps"):
        name = settings.events_name
        yield "events", partial(rabbitmq.look, "events", events_url, name, LOOK_TIMEOUT_S)
    else:
        yield "events", partial(redis.look, "events", events_url, LOOK_TIMEOUT_S, holds_log=True)


async def _bounded(subject: str, look: Callable[[], Awaitable[Seen | Answers]]) -> Seen | Answers:
    """What the look found, or that the server does not answer."""
    task = asyncio.ensure_future(look())
    done, _ = await asyncio.wait([task], timeout=LOOK_TIMEOUT_S)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=_LEAVE_TIMEOUT_S)
        return [UNREACHABLE.found(subject, f"no answer in {LOOK_TIMEOUT_S:g} s")]
    try:
        return task.result()
    except _FAILURES as error:
        return [UNREACHABLE.found(subject, _first_line(error))]


def _first_line(error: Exception) -> str:
    """What it says; what a library says of a URL that is none may have its password."""
    if isinstance(error, ValueError):
        return "its URL is not acceptable"
    return (str(error) or type(error).__name__).partition("\n")[0]
