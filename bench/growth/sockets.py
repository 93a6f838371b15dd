"""One websocket node with more sockets."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import uvloop

from bench.growth.figures import Sample
from bench.live import scenes
from bench.live.client import open_all
from bench.live.world import NODE_CORE, World, rss_mb, world
from bench.processes import core_busy_s, run_s
from bench.report import Spread

_POSTS = 20


async def _fan_out(made: World, size: int, number: int) -> Sample:
    """What a socket holds, and what it costs to tell all of them of one post. Raises Wrong."""
    with made.node() as node:
        async with scenes.press(made) as pressing:
            pid = node.process.pid
            empty_mb = rss_mb(pid)
            clients = await open_all(node.port, made.fan_tokens(size))
            await scenes.calm(clients)
            full_mb = rss_mb(pid)
            begun, before_s, busy_s = time.perf_counter(), run_s(pid), core_busy_s(NODE_CORE)
            took_s = await scenes.tell_all(pressing, clients, _POSTS)
            told_s = run_s(pid) - before_s
            others_s = core_busy_s(NODE_CORE) - busy_s - told_s
            others = max(others_s, 0.0) / (time.perf_counter() - begun)
            scenes.close_all(clients)
            return Sample(
                axis="sockets",
                line="a post to all of them",
                size=size,
                number=number,
                server_cpu_us=told_s / _POSTS / size * 1e6,
                p50_ms=Spread.of(took_s).median * 1e3,
                others_on_core=others,
                memory_kb=(full_mb - empty_mb) * 1e3 / size,
            )


def sockets(sizes: Sequence[int], options: argparse.Namespace, _: str) -> list[Sample]:
    """A node with more sockets, of one author's friends. Pins and renices this process."""
    samples: list[Sample] = []
    with world(log_statement="none") as made:
        for number in range(1, options.rounds + 1):
            for size in sizes if number % 2 else sizes[::-1]:
                samples.append(uvloop.run(_fan_out(made, size, number)))
                print(samples[-1], flush=True)
    return samples
