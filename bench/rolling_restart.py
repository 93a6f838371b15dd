"""What clients notice of APIs that are stopped and started one after the other, behind HAProxy.

    python -m bench.rolling_restart [--rate 300] [--rounds 3] [--compose]

Two APIs with the settings of a deployment, PostgreSQL, Redis, and HAProxy with the project's file,
all on this machine. Requests leave at a steady rate, a post after two reads, over connections that
are kept alive. In each round each API is ended by SIGTERM, as `docker stop` and `systemctl` do it,
and started anew once it has ended. A request's time is from when it was due. The exit status is 1
if one failed. With `--compose` it is the containers of `docker compose up -d --scale backend=2`
that are restarted, and nothing is started here.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import uvloop

from bench.crowd import Ask, Crowd, Line, Person
from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import START_S, get, wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.db import migrations, queries
from hlfast.settings import Settings

LINES = 64
SLOW_S = 0.5
# Requests before the first stop, and between two.
QUIET_S = 2.0


@dataclass(slots=True)
class Seen:
    """What clients saw. Times in seconds since the start, and how long each request took."""

    statuses: Counter[int] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests without an answer (0), or with another one than success."""
        return sum(count for status, count in self.statuses.items() if not 200 <= status < 300)

    def slow(self) -> list[tuple[float, float]]:
        """The requests that took longer than half a second."""
        return [(at, seconds) for at, seconds in self.took if seconds > SLOW_S]


class Load:
    """Requests of one person at a steady rate, until they end."""

    def __init__(self, crowd: Crowd, me: Person, rate: float) -> None:
        self._crowd, self._rate = crowd, rate
        read = me.ask("GET", "/users/me"), me.ask("GET", "/feed")
        self._asks = itertools.cycle([*read, me.ask("POST", "/posts", {"content": "x" * 100})])
        self._free: asyncio.Queue[Line] = asyncio.Queue()
        self.seen = Seen()
        self.ends = asyncio.Event()

    async def run(self) -> None:
        """Send until `ends` is set."""
        for line in self._crowd.lines:
            self._free.put_nowait(line)
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                due = begun + number / self._rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if self.ends.is_set():
                    return
                group.create_task(
                    self._ask(await self._free.get(), next(self._asks), begun, due - begun)
                )

    async def _ask(self, line: Line, ask: Ask, begun: float, due: float) -> None:
        try:
            status = (await line.ask(ask)).status
        except OSError:
            status = 0
            line.close()
            line = await Line.open(self._crowd.url)
        self.seen.statuses[status] += 1
        self.seen.took.append((due, time.perf_counter() - begun - due))
        self._free.put_nowait(line)


# Stops one API, starts it, and returns once the door sends requests to it again.
Restart = Callable[[], None]


async def restart_all(restarts: Sequence[Restart], rounds: int) -> None:
    """End and start each API, one after the other."""
    for _ in range(rounds):
        for restart in restarts:
            await asyncio.sleep(QUIET_S)
            await asyncio.to_thread(restart)
    await asyncio.sleep(QUIET_S)


async def run(url: str, restarts: Sequence[Restart], rate: float, rounds: int) -> Seen:
    """Load on the door while the APIs come and go."""
    async with Crowd(url, LINES, 1) as crowd:
        load = Load(crowd, await crowd.person(), rate)
        loading = asyncio.create_task(load.run())
        await restart_all(restarts, rounds)
        load.ends.set()
        await loading
    return load.seen


@contextmanager
def processes() -> Iterator[tuple[str, list[Restart]]]:
    """The door's URL before two APIs on this machine, and what restarts each."""
    settings = {
        "HLFAST_TRUSTED_PROXIES": "127.0.0.1",
        "HLFAST_DRAIN_NOTICE_S": Settings.model_fields["drain_notice_s"].default,
    }

    def restart(api: Api) -> None:
        api.process.terminate()
        api.process.wait(START_S)
        api.start()

    with ExitStack() as stack:
        database, redis = (
            stack.enter_context(server()) for server in (PostgresServer, RedisServer)
        )
        database.create_database("rolling")
        url = database.url("rolling")
        for part in (queries.MAIN, queries.DIALOGS):
            asyncio.run(migrations.apply(url, part))
        apis = [stack.enter_context(Api(url, redis.url, **settings)) for _ in range(2)]
        proxy = stack.enter_context(Proxy([api.port for api in apis], []))
        proxy.wait_until_up()
        yield proxy.url, [partial(restart, api) for api in apis]


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _published(port: int) -> int:
    return int(_docker("compose", "port", "haproxy", str(port)).rpartition(":")[2])


@contextmanager
def containers() -> Iterator[tuple[str, list[Restart]]]:
    """The URL and the APIs of the stack that docker compose runs in this directory."""
    backends = _docker("compose", "ps", "--quiet", "backend").split()
    if len(backends) < 2:
        sys.exit("two are needed: docker compose up -d --scale backend=2")
    door, statistics = _published(8000), _published(8404)

    def all_up() -> bool:
        _, text = get(statistics, "/;csv", START_S)
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        up = [row for row in rows if row["pxname"] == "api" and row["status"].startswith("UP")]
        # The last row is that of all servers together.
        return len(up) == len(backends) + 1

    def restart(container: str) -> None:
        _docker("restart", container)
        wait_until(all_up, "HAProxy does not take it back")

    wait_until(all_up, "HAProxy does not see every API")
    yield f"http://127.0.0.1:{door}", [partial(restart, container) for container in backends]


def main() -> int:
    """Print what was seen; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--rounds", type=int, default=3, help="how often each API is restarted")
    parser.add_argument("--compose", action="store_true", help="the containers that run here")
    arguments = parser.parse_args()
    with containers() if arguments.compose else processes() as (url, restarts):
        seen = uvloop.run(run(url, restarts, arguments.rate, arguments.rounds))
    took = sorted(seconds for _, seconds in seen.took)
    count = arguments.rounds * len(restarts)
    print(f"{len(took)} requests in {count} restarts: {dict(seen.statuses)}")
    print(
        f"{seen.failed} failed, {len(seen.slow())} took more than {SLOW_S * 1e3:.0f} ms; "
        f"p50 {took[len(took) // 2] * 1e3:.0f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.0f} ms, "
        f"longest {took[-1] * 1e3:.0f} ms"
    )
    for at, seconds in seen.slow():
        print(f"  due after {at:.2f} s: {seconds * 1e3:.0f} ms")
    return int(seen.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
