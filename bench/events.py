"""How many events one process publishes and follows through the event log, and how late they come.

    python -m bench.events [--redis URL] [--rabbitmq URL] [--per-turn 1 8 64 512]
        [--events 100000] [--rate 20000] [--loop uvloop]

Servers that are not named are started, with what is durable of them on this machine's disk; a
RabbitMQ that is not installed is left out. Every event is published through Publisher, so many
per loop turn, followed and decoded in the same process, and checked: once each, in order. First as
many as go, with a bounded number under way; then at a steady rate, which is where the latency
(from submit to decoded) is from. Entries hold the events of one turn, and in the first row of each
server, as in the service, those that came while many entries were under way, too. The exit status
is 1 if an event was missing or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import uvloop

from hl_utils.servers import rabbitmq
from hl_utils.servers.redis import LogRedisServer
from hlfast import codec
from hlfast.events.log import Entry, Reset
from hlfast.events.open import open_log
from hlfast.events.publisher import Publisher, read_batch
from hlfast.settings import Settings

TEXT = "x" * 175
# Events submitted and not yet confirmed, when as many are sent as go.
WINDOW_MAX = 8192
ENTRIES_UNDER_WAY_MAX = 128
ARRIVAL_TIMEOUT_S = 120.0
HEAD = "{:10}{:>8}{:>10}{:>16}{:>8}{:>14}{:>8}{:>8}"
ROW = "{:10}{:8}{:10.1f}{:16.0f}{:8.1f}{:14.0f}{:8.1f}{:8.1f}"


class Wrong(Exception):
    """An event did not arrive as it should have."""


def event(number: int) -> dict[str, object]:
    """About 300 bytes, as a message with its envelope is."""
    return {
        "event_id": f"dialogs:8589934594:{number:09}",
        "type": "message.created",
        "n": number,
        "sent": time.perf_counter(),
        "message": {"id": number, "from_user_id": 2, "to_user_id": 1, "content": TEXT},
    }


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run."""

    per_s: float
    cpu_us: float
    entries: int
    latencies_s: list[float]

    def latency_ms(self, share: float) -> float:
        """The latency below which that share of the events arrived."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


async def collect(
    following: AsyncGenerator[Entry | Reset, None], count: int
) -> tuple[int, list[float]]:
    """How many entries they came in, and their latencies. Raises Wrong."""
    expected, entries, latencies_s = 0, 0, []
    async for item in following:
        if isinstance(item, Reset):
            raise Wrong("the log was reset")
        entries += 1
        now = time.perf_counter()
        for found in read_batch(item.batch).events:
            if found["n"] != expected:
                raise Wrong(f"event {found['n']} came where {expected} was due")
            expected += 1
            latencies_s.append(now - found["sent"])
        if expected == count:
            break
    return entries, latencies_s


async def submit(publisher: Publisher, count: int, per_turn: int, rate: float | None) -> None:
    """So many events a turn, at that rate a second or as many as go. Raises Unavailable."""
    under_way: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    started = time.perf_counter()
    for first in range(0, count, per_turn):
        for number in range(first, min(first + per_turn, count)):
            under_way.put_nowait(publisher.submit(event(number)))
        if rate is None:
            await asyncio.sleep(0)
            while under_way.qsize() > WINDOW_MAX - per_turn:
                await under_way.get_nowait()
        elif (ahead_s := started + (first + per_turn) / rate - time.perf_counter()) > 0:
            await asyncio.sleep(ahead_s)
    while not under_way.empty():
        await under_way.get_nowait()


async def run(
    url: str, per_turn: int, count: int, rate: float | None, *, batched: bool = False
) -> Run:
    """Publish and follow that many events, so many a turn. Raises Wrong, Unavailable."""
    settings = Settings(events_url=url, events_name="bench", events_queue_max=count)
    if not batched:
        settings.events_batch_max = per_turn
        settings.events_batches_max = ENTRIES_UNDER_WAY_MAX
    log = open_log(settings)
    publisher = Publisher(log, settings)
    start = await log.end()
    await log.publish(b"[]")
    async with aclosing(log.follow(start)) as following:
        await anext(following)
        began, cpu_began = time.perf_counter(), time.process_time()
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S), asyncio.TaskGroup() as group:
            collecting = group.create_task(collect(following, count))
            group.create_task(submit(publisher, count, per_turn, rate))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    await log.close()
    entries, latencies_s = collecting.result()
    return Run(count / took_s, cpu_s / count * 1e6, entries, latencies_s)


@contextmanager
def servers(arguments: argparse.Namespace) -> Iterator[dict[str, str]]:
    """The URLs of the servers by name."""
    urls = {"Redis": arguments.redis, "RabbitMQ": arguments.rabbitmq}
    with ExitStack() as stack:
        if not urls["Redis"]:
            urls["Redis"] = stack.enter_context(LogRedisServer()).url
        if not urls["RabbitMQ"] and rabbitmq.installed():
            urls["RabbitMQ"] = stack.enter_context(rabbitmq.RabbitServer()).url
        yield {name: url for name, url in urls.items() if url}


def main() -> int:
    """Print a table; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--redis", metavar="URL")
    parser.add_argument("--rabbitmq", metavar="URL")
    parser.add_argument("--per-turn", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    arguments = parser.parse_args()
    start = uvloop.run if arguments.loop == "uvloop" else asyncio.run
    versions = " ".join(f"{name} {version(name)}" for name in ("aio-pika", "redis"))
    print(f"{len(codec.encode(event(1)))} bytes an event, {arguments.loop}, {versions}")
    print(HEAD.format("", "", "", "as many as go:", "", f"at {arguments.rate:.0f}/s:", "", ""))
    columns = ("server", "a turn", "an entry", "events/s", "CPU µs", "events/s", "p50 ms", "p99 ms")
    print(HEAD.format(*columns))
    with servers(arguments) as urls:
        for name, url in urls.items():
            for per_turn, batched in [(1, True), *((turn, False) for turn in arguments.per_turn)]:
                # Small entries are slow: less of them shows as much.
                count = min(arguments.events, max(10_000, per_turn * 10_000, batched * 50_000))
                try:
                    most = start(run(url, per_turn, count, None, batched=batched))
                    steady = start(run(url, per_turn, count, arguments.rate, batched=batched))
                except Wrong as wrong:
                    print(f"{name}, {per_turn} a turn: {wrong}")
                    return 1
                row = (per_turn, count / most.entries, most.per_s, most.cpu_us, steady.per_s)
                print(ROW.format(name, *row, steady.latency_ms(0.5), steady.latency_ms(0.99)))
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
