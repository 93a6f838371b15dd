"""Signals to whole families of processes."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from hl_utils.servers.process import START_S, Server


def children(pid: int) -> list[int]:
    """The processes that a process has started; none once it has ended."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return list(map(int, found.split()))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(member for child in children(pid) for member in family(child))]


def signal_all(server: Server, number: signal.Signals) -> None:
    """The one that we started first, then all that it started, and nothing new in between.

    Each is stopped before its children are listed, or one that starts meanwhile would be missed.
    """
    stopped: list[int] = []
    while new := [pid for pid in family(server.process.pid) if pid not in stopped]:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        stopped += new
    if number != signal.SIGSTOP:
        for pid in stopped:
            _signal(pid, number)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a process, unless it has ended between two looks."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a child of ours, and wait until it stands still: SIGCONT has it go on.

    On a busy machine its threads go on until one of them has taken the signal.
    """
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def kill(server: Server) -> None:
    """Kill every process of the server at once, as a crash does: none has a last word."""
    signal_all(server, signal.SIGKILL)
    server.process.wait(START_S)
