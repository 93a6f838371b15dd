"""What is done to the servers, one thing after another, while the load goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bench.ledger.fragile import Trial

Scene = Callable[[Trial, float, int], Awaitable[None]]
_KILLS = 3
_PAUSE_S = 2.0


async def api(trial: Trial, seconds: float, rows: int) -> None:
    """Killed between commit and publish; then either, at random moments."""
    await trial.kill_between_commit_and_publish(rows)
    await trial.kill_at_random(trial.servers.apis, seconds)


async def node(trial: Trial, seconds: float, rows: int) -> None:
    """Either, at random moments; then both at once, so that nobody remembers anything."""
    await trial.kill_at_random(trial.servers.nodes, seconds)
    await trial.kill_all_nodes()


async def broker(trial: Trial, seconds: float, rows: int) -> None:
    """Killed several times, and once together with an API."""
    for _ in range(_KILLS):
        await trial.kill_broker()
        await asyncio.sleep(_PAUSE_S)
    await trial.kill_broker_and_api(rows)


async def hang(trial: Trial, seconds: float, rows: int) -> None:
    """The event log hangs for so long: connections stay, and nothing answers."""
    await trial.hang(seconds)


async def stop(trial: Trial, seconds: float, rows: int) -> None:
    """The event log is stopped for so long."""
    await trial.stop_broker(seconds)


async def soak(trial: Trial, seconds: float, rows: int) -> None:
    """Every failure in turn, under load."""
    for scene in (api, node, broker, hang, stop):
        await scene(trial, seconds, rows)
        await asyncio.sleep(_PAUSE_S)


SCENES: dict[str, Scene] = {
    scene.__name__: scene for scene in (api, node, broker, hang, stop, soak)
}
