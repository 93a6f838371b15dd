"""An arm: one way to run a service. A run starts each anew in every round, all side by side."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench import processes
from bench.contenders import Contender
from bench.load import Exchange
from hl_utils.servers.process import ROOT, free_port


class Kind(StrEnum):
    """Which part of a page an arm belongs to."""

    LADDER = "ladder"
    LEFT_OUT = "left out"
    ADVISED = "advised"
    SAME = "the same twice"


# Of all arms of a round together; many, on few cores that others use, too.
_START_S = 600.0
_LOOK_S = 0.02
# Between two looks at what arms do that nobody asks anything: less CPU time than this, in seconds.
_CALM_LOOK_S = 0.2
_CALM_CPU_S = 0.02
_ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arm:
    """What is started; `{port}` stands in `argv` for where it listens on 127.0.0.1.

    `method`: what it has that the arm it is held against does not. `without`: that arm's name, or
    none for the first rung. `is_removal`: it lacks the method, and the other one has it.
    """

    name: str
    method: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: str | None = None
    is_removal: bool = False
    kind: Kind = Kind.LADDER
    # It leaves what it writes in the outbox, as nothing publishes it.
    leaves_events: bool = True
    # It talks to PostgreSQL by its unix socket, not by TCP.
    by_socket: bool = False
    directory: Path = ROOT
    # What becomes of each request to it: a class that is made of one.
    wrap: Callable[[Any], Exchange] | None = None


def of_contender(one: Contender) -> Arm:
    """The arm of a contender, as the lab starts it."""
    return Arm(
        one.name,
        one.name,
        one.argv,
        one.environment,
        leaves_events=one.leaves_events,
        by_socket=True,
        directory=one.directory,
        wrap=one.wrap,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """An arm of the lab that listens: its port, and its process id."""

    arm: Arm
    port: int
    pid: int


@asynccontextmanager
async def all_running(
    arms: Sequence[Arm],
    environment: Mapping[str, str],
    core: int | None,
    urls: Mapping[bool, str],
) -> AsyncIterator[dict[str, Running]]:
    """Every arm by name, all of them on one core once they listen.

    Raises RuntimeError for one that fails.

    `urls`: where the database is, by TCP (False) and by its socket (True).
    """
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
        running = []
        # They start on every core, all at once: that takes the most time of a round.
        for arm in arms:
            port = free_port()
            log = logs / arm.name
            given = {
                **environment,
                "DATABASE_URL": urls[arm.by_socket],
                "HLFAST_HTTP_PORT": str(port),
                **arm.environment,
            }
            words = [word.replace("{port}", str(port)) for word in arm.argv]
            process = stack.enter_context(
                processes.started(words, given, log=log, directory=arm.directory)
            )
            running.append((Running(arm, port, process.pid), process, log))
        try:
            deadline = time.monotonic() + _START_S
            for one, process, log in running:
                while not processes.listens(process, one.port, log):
                    if time.monotonic() > deadline:
                        raise processes.not_listening(one.port, log)
                    await asyncio.sleep(_LOOK_S)
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + _START_S):
                for one, _, _ in running:
                    await _answers(one)
                await _calm([one.pid for one, _, _ in running])
            if core is not None:
                for one, _, _ in running:
                    processes.pin(one.pid, core)
            yield {one.arm.name: one for one, _, _ in running}
        finally:
            # At once: each is waited for below.
            for one, _, _ in running:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGTERM)


async def _answers(one: Running) -> None:
    """Wait until an arm answers: whoever starts workers listens before they can."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(_ASK)
            answered = await reader.read(1)
            writer.close()
            if answered:
                return
        await asyncio.sleep(_LOOK_S)


async def _calm(pids: Sequence[int]) -> None:
    """Wait until no arm or worker is starting any more: it would be in others' windows."""
    before = [processes.tree_run_s(pid) for pid in pids]
    while True:
        await asyncio.sleep(_CALM_LOOK_S)
        now = [processes.tree_run_s(pid) for pid in pids]
        if all(b - a < _CALM_CPU_S for a, b in zip(before, now, strict=True)):
            return
        before = now
