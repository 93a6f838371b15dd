"""The websocket node beside Starlette and Node's `ws`: `python -m bench.live.peers`.

One server process on core 0; Redis, PostgreSQL and the clients on core 1. Interleaved rounds in one
run; the exit status is 1 if any frame was wrong, missing or too many. See bench/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import TypeVar

import uvloop

from bench import report
from bench.live import peers_servers
from bench.live.client import Wrong
from bench.live.peers_scenes import (
    BURST,
    BURSTS,
    HTTP,
    PAUSE_S,
    SCENES,
    SOCKETS,
    Contender,
    Delivery,
    HttpToFrame,
    frame_bytes,
    http_to_frame,
    window,
)
from bench.live.peers_servers import PEER_TABLE, Server
from bench.live.world import World, world
from bench.report import Spread

PACKAGES = (
    "asyncpg", "granian", "orjson", "picows", "redis", "starlette", "uvicorn",
    "uvloop", "websockets",
)  # fmt: skip
R = TypeVar("R", Delivery, HttpToFrame)
OURS = "hlfast"
# Ways of peers/node_ws; the last one differs from the one before in bursts only.
SENDS = ("plain", "prepared", "corked")
_ORDER = [OURS, "Starlette", *(f"ws {send}" for send in SENDS)]


def arguments() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="bench.live.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="after one that does not count")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one window")
    report.add_out(parser, "live_peers")
    return parser.parse_args()


def start_servers(stack: ExitStack, made: World) -> list[Server]:
    """Start the server of every peer."""
    made.postgres.psql("bench", "-c", PEER_TABLE)
    return [
        stack.enter_context(peers_servers.ours(made)),
        stack.enter_context(peers_servers.starlette(made, "starlette")),
        *(stack.enter_context(peers_servers.node_ws(made, send, send)) for send in SENDS),
    ]


async def compare(
    servers: Sequence[Server], rounds: int, seconds: float
) -> tuple[list[Delivery], list[HttpToFrame]]:
    """All rounds. Raises Wrong."""
    contenders = [Contender(server, server.face()) for server in servers]
    for contender in contenders:
        await contender.connect(SOCKETS)
    deliveries: list[Delivery] = []
    paths: list[HttpToFrame] = []
    for number in range(rounds + 1):
        # A B C, C B A, …: what drifts with time favours nobody.
        order = contenders[::-1] if number % 2 else contenders
        for scene in SCENES:
            for contender in order:
                if _differs(contender.server.name, scene):
                    found = await window(contender, scene, number, seconds)
                    deliveries.append(found)
                    print(
                        f"{number}/{rounds} {scene}, {found.server}: "
                        f"{found.cpu_us_per_frame:.2f} µs of CPU a frame",
                        flush=True,
                    )
        paths += [
            await http_to_frame(contender, number, seconds)
            for contender in order
            if _differs(contender.server.name, HTTP)
        ]
    for contender in contenders:
        await contender.close()
    return [one for one in deliveries if one.number], [one for one in paths if one.number]


def _differs(server: str, scene: str) -> bool:
    """Whether this server does anything else there than another row of the table."""
    return scene == BURSTS or server != f"ws {SENDS[-1]}"


def table(deliveries: Sequence[Delivery], paths: Sequence[HttpToFrame]) -> list[str]:
    """Ratios of neighbouring rounds, then the medians that they come from."""
    lines = ["| hlfast / peer | | frames per CPU second | latency p50 | p99 |", f"|{' --- |' * 5}"]
    for scene in SCENES:
        by_server = _by_server([one for one in deliveries if one.scene == scene])
        mine = by_server.pop(OURS)
        for server, theirs in by_server.items():
            cells = [
                Spread.of(
                    getattr(a, name) / getattr(b, name) for a, b in zip(mine, theirs, strict=True)
                )
                for name in ("frames_per_cpu_s", "p50_ms", "p99_ms")
            ]
            lines.append(f"| {scene} | {server} | {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "| | | frames per CPU second | CPU µs a frame | publish to frame p50, ms | p99, ms "
        "| others on the server's core | load busy |",
        f"|{' --- |' * 8}",
    ]
    for scene in SCENES:
        for server, found in _by_server([x for x in deliveries if x.scene == scene]).items():
            lines.append(
                f"| {scene} | {server} | {_middle(found, 'frames_per_cpu_s'):,.0f} "
                f"| {_middle(found, 'cpu_us_per_frame'):.2f} | {_middle(found, 'p50_ms'):.2f} "
                f"| {_middle(found, 'p99_ms'):.2f} "
                f"| {_middle(found, 'others_on_server_core'):.0%} "
                f"| {_middle(found, 'load_busy'):.0%} |"
            )
    lines += [
        "",
        f"| {HTTP}, p50 / p99 ms | request to 201 | 201 to frame | request to frame |",
        f"|{' --- |' * 4}",
    ]
    for server, mine in _by_server(paths).items():
        cells = [
            f"{_middle(mine, f'{name}_p50_ms'):.2f} / {_middle(mine, f'{name}_p99_ms'):.2f}"
            for name in ("answer", "frame_after_201", "frame")
        ]
        lines.append(f"| {server} | {' | '.join(cells)} |")
    return lines


def _by_server(found: Sequence[R]) -> dict[str, list[R]]:
    """Each server's rounds, in the order of their numbers."""
    by_server: dict[str, list[R]] = {}
    for one in sorted(found, key=lambda one: one.number):
        by_server.setdefault(one.server, []).append(one)
    return dict(sorted(by_server.items(), key=lambda item: _ORDER.index(item[0])))


def _middle(found: Sequence[Delivery | HttpToFrame], name: str) -> float:
    return median(getattr(one, name) for one in found)


def main() -> int:
    """Run every peer, print the page and write it."""
    options = arguments()
    try:
        versions = peers_servers.install_node_peer()
        with ExitStack() as stack:
            made = stack.enter_context(world(log_statement="none"))
            servers = start_servers(stack, made)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                deliveries, paths = runner.run(compare(servers, options.rounds, options.seconds))
    except (Wrong, RuntimeError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    facts = report.machine(PACKAGES) | versions
    method = (
        f"{SOCKETS:,} sockets to each server; {options.rounds} rounds of windows of "
        f"{options.seconds:g} s, after one that does not count, alternating; the next event "
        f"{1000 * PAUSE_S:g} ms after the last socket had the one before; a burst is {BURST} "
        f"events in one loop turn; frames of {frame_bytes()} bytes. One server process "
        "on core 0, Redis, PostgreSQL and clients on core 1; CPU is user and system time of the "
        "server process. Ratios of the same round: median (lowest..highest). Every byte checked."
    )
    figures = [asdict(one) for one in (*deliveries, *paths)]
    report.write(options.out, facts, method, table(deliveries, paths), figures)
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
