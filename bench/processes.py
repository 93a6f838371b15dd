"""Servers on one core, and the CPU time that they take, from /proc."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_START_S = 120


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        try:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _stat(pid: int) -> list[str]:
    # The name, in brackets, may hold spaces and brackets of its own.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent(pid: int) -> int:
    """The parent's process id."""
    return int(_stat(pid)[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process tree, all threads, dead children too, in seconds."""
    ticks = 0
    for one in tree(pid):
        try:
            ticks += sum(map(int, _stat(one)[11:15]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / _TICKS_PER_S


def run_s(pid: int) -> float:
    """CPU seconds of one process, in steps of nanoseconds, not of clock ticks: for short windows.

    Threads that have ended do not count.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def tree_run_s(pid: int) -> float:
    """CPU seconds of the processes of a tree that are still there, in steps of nanoseconds."""
    total = 0.0
    for one in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += run_s(one)
    return total


def memory_mb(pid: int) -> float:
    """Memory that a process tree has for itself, and its share of what several have: PSS, MB."""
    kib = 0
    for one in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


def core_busy_s(core: int) -> float:
    """Time that a core has not been idle since boot, in seconds, time stolen from it included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, ticks)
            return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S
    raise ValueError(f"There is no core {core}")


def pin(pid: int, core: int) -> None:
    """Every thread of a process tree to one core; what they start later inherits it."""
    for one in tree(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def started(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path,
    directory: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs. Its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def server(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    port: int,
    core: int,
    log: Path,
    directory: Path | None = None,
) -> Iterator[int]:
    """A server on one core, listening when entered, gone when left. Gives its process id.

    Its output goes to `log`. Raises RuntimeError with the log's end when it does not listen
    within two minutes.
    """
    words = ["taskset", "-c", str(core), *argv]
    with started(words, environment, log=log, directory=directory) as process:
        deadline = time.monotonic() + _START_S
        while not listens(process, port, log):
            if time.monotonic() > deadline:
                raise not_listening(port, log)
            time.sleep(0.1)
        yield process.pid


def listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Whether it takes connections yet. Raises RuntimeError if it has ended."""
    if process.poll() is not None:
        raise not_listening(port, log)
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def not_listening(port: int, log: Path) -> RuntimeError:
    """What to raise, with the log's end."""
    return RuntimeError(f"{log.name} does not listen on {port}:\n{log.read_text()[-3000:]}")
