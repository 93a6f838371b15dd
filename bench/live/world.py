"""Servers, people and their friendships, for the benchmarks of the websocket tier."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.live.client import event_id
from bench.processes import pin
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import SECRET, Api, Node
from hl_utils.servers.sql import migrate
from hlfast.auth.tokens import Tokens
from hlfast.events.open import open_log
from hlfast.events.publisher import Publisher
from hlfast.settings import Settings

NODE_CORE, OTHER_CORE = 0, 1
FANS, FRIENDS = 10_000, 100
# Friends with every fan; each of the others with a tenth of the first thousand.
HUB = FANS + 1
AUTHORS = range(FANS + 2, FANS + 12)
PEOPLE = f"""
INSERT INTO "user" (username, username_key, password_hash, first_name, last_name, first_key,
                    last_key)
SELECT 'u' || n, 'u' || n, '', '', '', '', '' FROM generate_series(1, {AUTHORS[-1]}) n;
INSERT INTO friend (user_id, friend_id, state, version)
SELECT n, (n - 1 + offset_by + {FANS}) % {FANS} + 1, 3, 1
FROM generate_series(1, {FANS}) n,
     (SELECT sign * (37 * k + k * k)
      FROM generate_series(1, {FRIENDS // 2}) k, (VALUES (1), (-1)) v(sign)) o(offset_by);
INSERT INTO friend (user_id, friend_id, state, version)
SELECT n, {HUB}, 3, 1 FROM generate_series(1, {FANS}) n
UNION ALL SELECT {HUB}, n, 3, 1 FROM generate_series(1, {FANS}) n;
INSERT INTO friend (user_id, friend_id, state, version)
SELECT n, {AUTHORS[0]} + n % 10, 3, 1 FROM generate_series(1, 1000) n
UNION ALL SELECT {AUTHORS[0]} + n % 10, n, 3, 1 FROM generate_series(1, 1000) n;
ANALYZE;
"""  # noqa: S608 (the numbers are ours)


def raise_open_files() -> None:
    """Raise the limit of open files to what is allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass
class World:
    """PostgreSQL, Redis and everything of the benchmark on one core, nodes on the other."""

    postgres: PostgresServer
    url: str
    redis_url: str
    stack: ExitStack
    tokens: Tokens = field(
        default_factory=lambda: Tokens(Settings(secret=SECRET, access_token_s=36000))
    )

    @contextmanager
    def node(self, core: int = NODE_CORE, **settings: Any) -> Iterator[Node]:
        """A node on its core."""
        with Node(self.url, self.redis_url, **settings) as node:
            pin(node.process.pid, core)
            yield node

    @contextmanager
    def api(self) -> Iterator[Api]:
        """An API on the core of the rest."""
        with Api(self.url, self.redis_url) as api:
            yield api

    def token(self, user: int) -> str:
        """An access token of a user."""
        return self.tokens.sign("access", user, 0)

    def fan_tokens(self, count: int) -> list[str]:
        """Access tokens of the first fans."""
        return [self.token(user) for user in range(1, count + 1)]


@contextmanager
def world(log_statement: str = "all") -> Iterator[World]:
    """Everything but API and nodes."""
    raise_open_files()
    os.nice(5)
    os.sched_setaffinity(0, {OTHER_CORE})
    with ExitStack() as stack:
        # What the nodes ask is read from its log.
        postgres = stack.enter_context(
            PostgresServer(log_statement=log_statement, shared_buffers="256MB")
        )
        redis = stack.enter_context(LogRedisServer())
        url = migrate(postgres, "bench")
        postgres.psql("bench", "-c", PEOPLE)
        yield World(postgres, url, redis.url, stack)


class Press:
    """Publishes posts as an API process does, and remembers when."""

    def __init__(self, redis_url: str) -> None:
        settings = Settings(redis_url=redis_url)
        self._log = open_log(settings)
        self._publisher = Publisher(self._log, settings)
        self.sent: dict[int, float] = {}

    def post(self, author: int, content: str = "x" * 100) -> asyncio.Future[None]:
        """Publish a new post of a user."""
        number = len(self.sent) + 1
        now = "2026-01-01T00:00:00Z"
        post = {
            "id": number,
            "author_id": author,
            "content": content,
            "privacy": "public",
            "created_at": now,
            "updated_at": now,
        }
        event = {"id": event_id(number), "type": "post.created", "author": author}
        self.sent[number] = time.perf_counter()
        return self._publisher.submit({**event, "data": {"post": post}})

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._publisher.close()
        await self._log.close()


def rss_mb(pid: int) -> float:
    """Resident memory in 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"there is no process {pid}")


def share(values: list[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
