"""The scenes: each gives its figures, or raises Wrong."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from bench.live.client import Client, Wrong, open_all, open_one, until
from bench.live.world import AUTHORS, FANS, FRIENDS, HUB, NODE_CORE, Press, World, rss_mb, share
from bench.processes import core_busy_s, cpu_s
from hl_utils.servers.services import Node

Figures = list[tuple[str, str]]
# Of those that a slow reader does not read: 8 MB.
POSTS = 2000
# Several times the pause between two pings.
QUIET_S = 100
USER = '"user"'


@asynccontextmanager
async def press(world: World) -> AsyncIterator[Press]:
    """A user who publishes posts."""
    one = Press(world.redis_url)
    try:
        yield one
    finally:
        await one.close()


def ms(values: Sequence[float]) -> str:
    """p50, p99 and the longest of times in seconds."""
    found = sorted(values)
    parts = (share(list(found), 0.5), share(list(found), 0.99), found[-1])
    return " / ".join(f"{1000 * value:.1f}" for value in parts) + " ms (p50 / p99 / max)"


def close_all(clients: Sequence[Client]) -> None:
    for client in clients:
        client.transport.abort()


class Meter:
    """CPU time of a node, and what others took of its core, since this was made."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._start = time.perf_counter()
        self._cpu_s, self._busy_s = cpu_s(node.process.pid), core_busy_s(NODE_CORE)

    def read(self) -> tuple[float, str]:
        """The node's, in seconds, and the others' share."""
        mine = cpu_s(self._node.process.pid) - self._cpu_s
        busy = core_busy_s(NODE_CORE) - self._busy_s
        others = max(0.0, busy - mine) / (time.perf_counter() - self._start)
        return mine, f"{100 * others:.0f} %"


async def hold(world: World) -> Figures:
    """Memory of 10,000 sockets with 100 friends each, and one with 10,000."""
    with world.node() as node:
        empty = rss_mb(node.process.pid)
        start = time.perf_counter()
        cpu = cpu_s(node.process.pid)
        clients = await open_all(node.port, world.fan_tokens(FANS))
        took = time.perf_counter() - start
        cpu = cpu_s(node.process.pid) - cpu
        # The frames on each other's coming.
        await calm(clients)
        full = rss_mb(node.process.pid)
        quiet = cpu_s(node.process.pid)
        # With each one's pings.
        await asyncio.sleep(QUIET_S)
        quiet = cpu_s(node.process.pid) - quiet
        if not all(client.hello and not client.is_lost for client in clients):
            raise Wrong("a socket was closed")
        close_all(clients)
        return [
            ("resident, nobody there", f"{empty:.0f} MB"),
            (f"resident, {FANS:,} sockets, {FRIENDS + 1} friends each", f"{full:.0f} MB"),
            ("memory of each", f"{1000 * (full - empty) / FANS:.1f} kB"),
            ("connecting them", f"{took:.1f} s, of the node's CPU {cpu:.1f} s"),
            (
                "the node's CPU for each that is quiet",
                f"{1e6 * quiet / QUIET_S / FANS:.1f} µs a second",
            ),
        ]


async def calm(clients: Sequence[Client]) -> None:
    """Until nothing has come for half a second."""
    seen = -1
    while seen != (now := sum(client.others + client.events for client in clients)):
        seen = now
        await asyncio.sleep(0.5)


async def celebrity(world: World) -> Figures:
    """One post to 10,000 connected friends."""
    with world.node() as node:
        async with press(world) as pressing:
            clients = await open_all(node.port, world.fan_tokens(FANS))
            await calm(clients)
            meter = Meter(node)
            all_s = await tell_all(pressing, clients)
            cpu, others = meter.read()
            # Apart: its questions cost the node something, too.
            prober = Prober(node)
            await asyncio.sleep(3)
            idle_s, prober = prober.read(), Prober(node)
            await tell_all(pressing, clients)
            probed_s = prober.read()
            if any(client.events != len(pressing.sent) for client in clients):
                raise Wrong("frames are too many")
            close_all(clients)
            return [
                (f"one post to {FANS:,}: read by the last", ms(all_s)),
                ("the same, the node's CPU", f"{1000 * cpu / 20:.0f} ms a post"),
                ("an answer of the loop meanwhile", ms(probed_s)),
                ("an answer of the loop, with no post", ms(idle_s)),
                ("others on the node's core", others),
            ]


async def tell_all(pressing: Press, clients: Sequence[Client], posts: int = 20) -> list[float]:
    """From publishing a post to its reading by the last, in seconds."""
    took_s = []
    for _ in range(posts):
        await pressing.post(HUB)
        number = len(pressing.sent)
        await until(lambda n=number: all(c.events >= n for c in clients), clients)
        took_s.append(time.perf_counter() - pressing.sent[number])
        await asyncio.sleep(0.1)
    return took_s


class Prober:
    """A process that asks a node's loop for a turn all the time, since this was made."""

    def __init__(self, node: Node) -> None:
        command = [sys.executable, "-m", "bench.live.prober", str(node.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self) -> list[float]:
        """Stop it: how long each turn took to come, in seconds. Raises Wrong."""
        found, _ = self._process.communicate()
        if self._process.returncode:
            raise Wrong("the node's loop did not answer")
        return list(json.loads(found))


async def sustained(world: World, seconds: int = 10, per_s: int = 1000) -> Figures:
    """Posts at a rate, each to 100 of the same 1,000 sockets."""
    with world.node(HLFAST_WS_JOIN_DELAY_S=0.02, HLFAST_TAIL_EVENTS_MAX=10_000) as node:
        async with press(world) as pressing:
            clients = await open_all(node.port, world.fan_tokens(1000))
            await calm(clients)
            for client in clients[::50]:
                client.times = []
            meter, start = Meter(node), time.perf_counter()
            total = seconds * per_s
            while len(pressing.sent) < total:
                due = min(total, int((time.perf_counter() - start) * per_s) + 1)
                for number in range(len(pressing.sent), due):
                    pressing.post(AUTHORS[number % 10])
                await asyncio.sleep(0.001)
            sending = time.perf_counter() - start
            await until(lambda: all(c.events >= total // 10 for c in clients), clients)
            took = time.perf_counter() - start
            cpu, others = meter.read()
            if any(client.events != total // 10 for client in clients):
                raise Wrong("frames are too many")
            late = [
                at - pressing.sent[number]
                for client in clients
                for number, at in client.times or ()
            ]
            close_all(clients)
            return [
                ("posts a second, each to 100 of 1,000", f"{total / sending:,.0f}"),
                ("frames a second until the last was read", f"{100 * total / took:,.0f}"),
                ("from publishing to the frame", ms(late)),
                ("the node's CPU", f"{100 * cpu / took:.0f} % of its core"),
                ("frames per CPU second", f"{100 * total / cpu:,.0f}"),
                ("others on the node's core", others),
            ]


async def slow_reader(world: World) -> Figures:
    """100 who read, without and with one beside them who does not."""
    found: Figures = []
    tokens = [world.token(10 * number) for number in range(1, 101)]
    with world.node() as node:
        async with press(world) as pressing:
            clients = await open_all(node.port, tokens)
            found.append(("100 readers", ms(await _read_along(pressing, clients))))
            slow = await open_one(node.port, tokens[0])
            await until(lambda: slow.hello)
            slow.transport.pause_reading()
            before = rss_mb(node.process.pid)
            beside = await _read_along(pressing, clients)
            found.append(("the same beside one who does not read", ms(beside)))
            grown = rss_mb(node.process.pid) - before
            found.append(("the node grew meanwhile, by its tail, too", f"{grown:.1f} MB"))
            slow.transport.resume_reading()
            await until(lambda: slow.is_lost or slow.close_code)
            if slow.events >= POSTS or slow.close_code not in (0, 1013):
                raise Wrong(f"the slow reader: {slow.close_code}, {slow.events} events")
            close_all(clients)
    return found


async def _read_along(pressing: Press, clients: Sequence[Client]) -> list[float]:
    """From publishing to the frame, of posts of 4 KiB, some 200 a second."""
    for client in clients:
        client.times = []
        client.events = 0
    for _ in range(POSTS):
        await pressing.post(AUTHORS[0], "x" * 4096)
        await asyncio.sleep(0.003)
    await until(lambda: all(client.events == POSTS for client in clients), clients)
    return [at - pressing.sent[number] for one in clients for number, at in one.times or ()]


async def come_back(world: World, count: int = 5000, missed: int = 20) -> Figures:
    """Sockets cut at once by the death of their node come back to another one."""
    with world.node() as left, world.node(core=1) as dead:
        async with press(world) as pressing:
            tokens = world.fan_tokens(count)
            clients = await open_all(dead.port, tokens)
            await pressing.post(HUB)
            await until(lambda: all(client.events == 1 for client in clients), clients)
            dead.kill()
            await until(lambda: all(client.is_lost for client in clients))
            for _ in range(missed - 1):
                await pressing.post(HUB)
            await pressing.post(AUTHORS[0])
            clients = [Client(client.cursor, client.last) for client in clients]
            statements = _statements(world)
            cpu, start = cpu_s(left.process.pid), time.perf_counter()
            await open_all(left.port, tokens, clients)
            await until(lambda: all(client.resumed is not None for client in clients), clients)
            took = time.perf_counter() - start
            cpu = cpu_s(left.process.pid) - cpu
            asked = _statements(world) - statements
            friends_of_author = {10 * number for number in range(1, 101)}
            for user, client in enumerate(clients, start=1):
                if not client.resumed:
                    raise Wrong("not recovered")
                if client.events != missed - 1 + (user in friends_of_author):
                    raise Wrong(f"{client.events} events replayed")
            if asked.keys() - {"friend", USER} or not asked["friend"]:
                raise Wrong(f"the database was asked for more: {asked}")
            close_all(clients)
            return [
                (f"{count:,} back on another node, all recovered", f"{took:.1f} s"),
                ("the same, the node's CPU", f"{cpu:.1f} s"),
                (
                    "statements meanwhile",
                    f"{asked['friend']} for friends, {asked[USER]} for tokens, 0 for history",
                ),
            ]


def _statements(world: World) -> Counter[str]:
    """How often each table was asked for, from the server's log."""
    executed = world.postgres.log.read_text().split("LOG:  execute ")[1:]
    return Counter(found[1] for text in executed if (found := re.search(r"FROM\s+(\S+)", text)))


async def latency(world: World, posts: int = 500) -> Figures:
    """From HTTP to the frame, one post at a time."""
    with world.node() as node, world.api() as api:
        reader = await open_one(node.port, world.token(10))
        await until(lambda: reader.hello)
        asked_s, frame_s, whole_s = [], [], []
        headers = {"Authorization": f"Bearer {world.token(AUTHORS[0])}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers) as http:
            for number in range(posts + 50):
                before, start = reader.others, time.perf_counter()
                answer = await http.post("/api/v1/posts", json={"content": "x" * 100})
                if answer.status_code != 201:
                    raise Wrong(answer.text)
                answered = time.perf_counter()
                await until(lambda before=before: reader.others > before)
                end = time.perf_counter()
                if number >= 50:
                    asked_s.append(answered - start)
                    frame_s.append(max(0.0, end - answered))
                    whole_s.append(end - start)
        close_all([reader])
        return [
            ("a post over HTTP, to its 201", ms(asked_s)),
            ("from the 201 to the frame", ms(frame_s)),
            ("from the request to the frame", ms(whole_s)),
        ]
