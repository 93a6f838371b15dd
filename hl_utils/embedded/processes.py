"""Starting a server so that it does not outlive us, and ending what a killed `up` left behind."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from hl_utils.servers.account import Account
from hl_utils.servers.home import Home, StackError

PR_SET_PDEATHSIG = 1
# Carried by the API's processes; the servers are known by their working directory.
HOME_MARK = "HLFAST_STACK"
SERVICES = ("api", "ws")
SERVER_NAMES = ("postgres", "initdb", "redis-server", "valkey-server")
POLL_S = 0.02
LOG_BYTES_MAX = 8 * 1024 * 1024
LOG_BYTES_READ = 16 * 1024
TELLING = re.compile(r"FATAL|PANIC|Fatal|Error: |Unavailable: ")

# What is sent to end a process, and how many seconds it may take then.
Ending = Sequence[tuple[signal.Signals, float]]

# PostgreSQL: fast shutdown, then an immediate one that the next start recovers from, as it does
# from being killed. Redis takes the first as a wish to end, too.
SERVERS: Ending = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 1.0))
# What is left of an API has no socket or no database to answer with.
SERVICE_ORPHANS: Ending = ((signal.SIGKILL, 5.0),)

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Server:
    """One supervised process, in a session of its own: a terminal's Ctrl-C reaches only us.

    On Linux the kernel sends it the first signal of `ending` when we die, however that happens.
    """

    name: str
    ending: Ending
    kill_signal: signal.Signals = signal.SIGKILL

    def __init__(self, log: Path, account: Account | None = None) -> None:
        self.log = log
        self._log_start = 0
        self._account = account
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that was started last. Raises RuntimeError if none was."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    async def start(self) -> None:
        """Start it and wait until it serves. Raises StackError if it does not."""
        raise NotImplementedError

    async def clear(self) -> None:
        """End what is left of it without a parent. Raises StackError if that does not end."""
        raise NotImplementedError

    async def wait(self) -> int:
        """The exit code once it ended, negative for a signal."""
        return await self.process.wait()

    async def stop(self, patience_s: float) -> None:
        """End it: it has `patience_s` seconds at most to do so by itself, then it is forced."""
        (wish, own_patience_s), *force = self.ending
        ending = ((wish, min(patience_s, own_patience_s)), *force)
        if self._process is not None:
            await end(_unless_gone(self._process), ending)
            await self._process.wait()
        await self.clear()

    def kill(self) -> None:
        """Make it end at once, without waiting."""
        if self._process is not None:
            for process in _unless_gone(self._process):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, self.kill_signal)

    def bound_log(self) -> None:
        """Keep one older part of the log beside it once it is too long."""
        if self.log.stat().st_size > LOG_BYTES_MAX:
            # The server goes on writing at the end of the same file, wherever that is.
            shutil.copyfile(self.log, self.log.with_suffix(".1.log"))
            os.truncate(self.log, 0)
            self._log_start = 0

    async def _launch(
        self,
        *argv: str | Path,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int = asyncio.subprocess.DEVNULL,
    ) -> None:
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(output).st_size
        try:
            self._process = await asyncio.create_subprocess_exec(
                *map(str, argv),
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_dying_with(os.getpid(), self.ending[0][0]),
                **(self._account.spawn if self._account else {}),
            )
        finally:
            os.close(output)

    async def _until(self, ready: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Wait until it is ready. Raises StackError if it ends before, or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.process.returncode is None:
                    if await ready():
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise StackError(
                f"{self.name} does not answer after {timeout_s:.0f} s{self._reason()}"
            ) from None
        raise StackError(f"{self.name} {described(self.process.returncode)}{self._reason()}")

    def _reason(self) -> str:
        """What it wrote since it was launched, in one line: the last that names an error."""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - LOG_BYTES_READ))
            lines = file.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if TELLING.search(line)] or lines or ["nothing written"]
        return f": {telling[-1].strip()} (see {self.log})"


def _dying_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child runs last before exec, its user switched: switching takes the wish back."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, int(death_signal))
        # Too late if the parent died before.
        if os.getppid() not in (parent, 0):
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_kernel


def described(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def exists(pid: int) -> bool:
    """Whether the number belongs to a process now, whosever."""
    return bool(psutil.pid_exists(pid))


def servers_in(directory: Path) -> list[psutil.Process]:
    """The database servers that work below a directory of ours, orphans included."""
    return _found(
        lambda process: (
            process.name() in SERVER_NAMES and Path(process.cwd()).is_relative_to(directory)
        )
    )


def service_mark(home: Path, verb: str) -> str:
    """What a process of ours, and all that it starts, has in its environment."""
    return f"{verb} of {home}"


def services_of(home: Path, *verbs: str) -> list[psutil.Process]:
    """The processes of these verbs of a home, workers without a parent included."""
    marks = {service_mark(home, verb) for verb in verbs}
    return _found(lambda process: process.environ().get(HOME_MARK) in marks)


async def sweep(home: Home) -> None:
    """End what a killed `up` left behind on this home, and nobody else's processes."""
    await end(services_of(home.path, *SERVICES), SERVICE_ORPHANS)
    await end(servers_in(home.data), SERVERS)


async def end(processes: Sequence[psutil.Process], ending: Ending) -> None:
    """Make processes end, harder each time. Raises StackError if one never does."""
    for sent, patience_s in ending:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sent)
        for _ in range(round(patience_s / POLL_S)):
            if not any(map(_lives, processes)):
                return
            await asyncio.sleep(POLL_S)
    pids = ", ".join(str(process.pid) for process in processes if _lives(process))
    raise StackError(f"these processes do not end: {pids}")


def _unless_gone(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """The child, as long as its number is its own."""
    with suppress(psutil.NoSuchProcess):
        if process.returncode is None:
            return [psutil.Process(process.pid)]
    return []


def _lives(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        # A zombie has let go of its files and sockets only when its last thread has ended.
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _found(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Gone meanwhile, or another user's.
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and belongs(process):
                found.append(process)
    return found
