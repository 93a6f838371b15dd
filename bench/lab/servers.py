"""The databases of a run: PostgreSQL, by TCP and by its socket, with a population, and Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import processes
from bench.database import SETTINGS, seeded
from bench.rounds import MEANS
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import free_port
from hl_utils.servers.redis import RedisServer

_DATABASE = "lab"
# All arms of a round are connected at once.
_CONNECTIONS_MAX = 600


class _Postgres(PostgresServer):
    """A PostgreSQL server that listens on TCP, too."""

    def __init__(self) -> None:
        self.port = free_port()
        super().__init__(
            listen_addresses="127.0.0.1",
            port=self.port,
            max_connections=_CONNECTIONS_MAX,
            **SETTINGS,
        )

    def url(self, database: str) -> str:
        return f"{super().url(database)}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        """The URL of the server by TCP."""
        return f"postgresql://hlfast@127.0.0.1:{self.port}/{database}"


@dataclass(frozen=True, slots=True)
class Servers:
    """What the arms talk to. `urls`: the database's by TCP (False) and by its socket (True)."""

    urls: Mapping[bool, str]
    redis_url: str
    postgres_pid: int


@contextmanager
def running(users: int, cores: frozenset[int]) -> Iterator[Servers]:
    """Both servers for as long as the block runs, on these cores once they are filled."""
    with ExitStack() as stack:
        postgres = stack.enter_context(_Postgres())
        postgres.create_database(_DATABASE)
        url = stack.enter_context(seeded(postgres.url(_DATABASE), users=users, means=MEANS))
        postgres.psql(_DATABASE, "-c", "VACUUM ANALYZE")
        redis = stack.enter_context(RedisServer())
        for pid in (postgres.process.pid, redis.process.pid):
            for one in processes.tree(pid):
                os.sched_setaffinity(one, cores)
        urls = {False: postgres.tcp_url(_DATABASE), True: url}
        yield Servers(urls, redis.url, postgres.process.pid)
