"""An arm: one way to run a service. A run starts each anew in every round, all side by side."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bench import processes
from hl_utils.servers.process import ROOT, free_port


class Kind(StrEnum):
    """Which part of a page an arm belongs to."""

    LADDER = "ladder"
    LEFT_OUT = "left out"
    ADVISED = "advised"
    SAME = "the same twice"


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


@dataclass(frozen=True, slots=True)
class Running:
    """An arm that listens."""

    arm: Arm
    port: int
    pid: int


@contextmanager
def all_running(
    arms: Sequence[Arm],
    environment: Mapping[str, str],
    core: int | None,
    urls: Mapping[bool, str],
) -> Iterator[dict[str, Running]]:
    """By name; all of them on one core once they listen. Raises RuntimeError for one that fails.

    `urls`: where the database is, by TCP (False) and by its socket (True).
    """
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))

        def start(arm: Arm) -> Running:
            port = free_port()
            words = [word.replace("{port}", str(port)) for word in arm.argv]
            server = processes.server(
                words,
                {
                    **environment,
                    "DATABASE_URL": urls[arm.by_socket],
                    "HLFAST_HTTP_PORT": str(port),
                    **arm.environment,
                },
                port=port,
                core=None,
                log=logs / arm.name,
                directory=arm.directory,
            )
            return Running(arm, port, stack.enter_context(server))

        # They start on every core: that takes the most time of a round.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            running = list(pool.map(start, arms))
        for one in running:
            if core is not None:
                processes.pin(one.pid, core)
        try:
            yield {one.arm.name: one for one in running}
        finally:
            # At once: each is waited for below.
            for one in running:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGTERM)
