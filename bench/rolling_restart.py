"""What clients notice of APIs that are stopped and started one after the other, behind HAProxy.

    python -m bench.rolling_restart [--rate 300] [--rounds 3]

Two APIs with the settings of a deployment, PostgreSQL, Redis, and HAProxy with the project's file,
all on this machine. Requests leave at a steady rate, a post after two reads, over connections that
are kept alive. In each round each API is ended by SIGTERM, as `docker stop` and `systemctl` do it,
and started anew once it has ended. A request's time is from when it was due. The exit status is 1
if one failed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import uvloop

from bench.crowd import Ask, Crowd, Line, Person
from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import START_S
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


async def restart_all(apis: Sequence[Api], rounds: int) -> None:
    """End and start each, one after the other."""
    for _ in range(rounds):
        for api in apis:
            await asyncio.sleep(QUIET_S)
            api.process.terminate()
            await asyncio.to_thread(api.process.wait, START_S)
            await asyncio.to_thread(api.start)
    await asyncio.sleep(QUIET_S)


async def run(proxy: Proxy, apis: Sequence[Api], rate: float, rounds: int) -> Seen:
    """Load on the door while the APIs come and go."""
    async with Crowd(proxy.url, LINES, 1) as crowd:
        load = Load(crowd, await crowd.person(), rate)
        loading = asyncio.create_task(load.run())
        await restart_all(apis, rounds)
        load.ends.set()
        await loading
    return load.seen


def main() -> int:
    """Print what was seen; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--rounds", type=int, default=3, help="how often each API is restarted")
    arguments = parser.parse_args()
    settings = {
        "HLFAST_TRUSTED_PROXIES": "127.0.0.1",
        "HLFAST_DRAIN_NOTICE_S": Settings.model_fields["drain_notice_s"].default,
    }
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
        seen = uvloop.run(run(proxy, apis, arguments.rate, arguments.rounds))
    took = sorted(seconds for _, seconds in seen.took)
    print(f"{len(took)} requests in {2 * arguments.rounds} restarts: {dict(seen.statuses)}")
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
