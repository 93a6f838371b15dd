"""A server as a child process with a private directory, and what every kind of them shares."""

from __future__ import annotations

import errno
import fcntl
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from hl_utils.servers.home import Home, StackError

T = TypeVar("T")
# Of the repository.
ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
_PORT_MIN, _PORT_END = 12_000, 32_000
# A server's whole environment: the caller's PGPORT, PGDATA and time zone are not for it.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_POLL_S = 0.01
_ANSWER_TIMEOUT_S = 5.0
_LOG_CHARACTERS_SHOWN = 2000


class _Ports:
    """Ports that no other process of ours takes at the same time: each is a locked byte of a file.

    They lie below those that the kernel gives to outgoing connections, any of which could be in
    use when a server comes to listen. The kernel frees the locks when the process ends.
    """

    def __init__(self) -> None:
        path = Path(tempfile.gettempdir(), f"hlfast-ports-{os.geteuid()}")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        # Not where the last process began: what it listened on may still be closing.
        self._next = _PORT_MIN + secrets.randbelow(_PORT_END - _PORT_MIN)

    def take(self) -> int:
        """One that nobody listens on. It is ours until this process ends."""
        for _ in range(_PORT_MIN, _PORT_END):
            port = self._next
            self._next = _PORT_MIN + (port + 1 - _PORT_MIN) % (_PORT_END - _PORT_MIN)
            with suppress(OSError), socket.socket() as probe:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                probe.bind(("127.0.0.1", port))
                return port
        raise OSError(errno.EADDRINUSE, "no port is free")


@cache
def _ports() -> _Ports:
    return _Ports()


def free_port() -> int:
    """A TCP port of the loopback address that nobody else takes while this process runs."""
    return _ports().take()


def wait_until(condition: Callable[[], T], what: str, within_s: float = START_S) -> T:
    """The first true answer of `condition`. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(_POLL_S)
    return answer


def get(port: int, path: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> tuple[int, str]:
    """Status and body of what a loopback port answers to a GET. Raises OSError if it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{path} of port {port} was not answered") from error
    finally:
        connection.close()


def need_running(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises StackError with the end of the log if the process has ended."""
    if process.poll() is not None:
        written = log.read_text(errors="replace")[-_LOG_CHARACTERS_SHOWN:]
        raise StackError(f"{process.args!r} ended with {process.returncode}:\n{written}")


class Startable(Protocol):
    """What a block starts and ends."""

    def start(self) -> None:
        """Start, and wait until it serves."""

    def stop(self) -> None:
        """End it gracefully. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """Kill it by SIGKILL, and wait until it has ended."""

    def clear(self) -> None:
        """Remove the files of the server, which has ended."""


def begin(server: Startable) -> None:
    """Start it. One that does not start is ended and cleared, as its block then never begins."""
    try:
        server.start()
    except BaseException:
        end(server)
        raise


def end(server: Startable) -> None:
    """Stop and clear it. One that does not end is killed, so that nothing outlives its block.

    Raises subprocess.TimeoutExpired, which names the process.
    """
    try:
        if hasattr(server, "process"):
            server.stop()
    except subprocess.TimeoutExpired:
        server.kill()
        raise
    finally:
        server.clear()


class Server:
    """A process with a private directory, gone when the block ends."""

    process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        # Not below a private directory of root's, as pytest's is: the servers' user could not
        # get to it.
        self.directory = Path(tempfile.mkdtemp(prefix="hlfast-test-"))
        self.home = Home(self.directory)
        self.home.furnish()
        begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(self)

    def start(self) -> None:
        """Start, and wait until it serves."""
        raise NotImplementedError

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and wait for that."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(START_S)

    def kill(self) -> None:
        """Kill it by SIGKILL, and wait until it has ended."""
        self.stop(signal.SIGKILL)

    def clear(self) -> None:
        """Remove the files of the server, which has ended."""
        shutil.rmtree(self.home.sockets, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(
        self, *argv: str | Path, log: str, environment: Mapping[str, str] = ENVIRONMENT
    ) -> None:
        """Start the process as the servers' user; its output goes to a log."""
        with (self.home.logs / log).open("ab") as output:
            self.process = subprocess.Popen(
                list(map(str, argv)),
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **self.home.account.spawn,
            )
