"""Servers under test, forked from a process that has imported what they need.

An interpreter takes half a second of CPU to import an API or a node, and hundreds are started. So
each process of pytest has one that has done so for each verb, and a server is a fork of it: it
takes on the environment, session, files and arguments of a program that was just started, and
calls `main` of the command. Its parent is pytest, as if started from there. What tests a start
itself starts it by `subprocess.Popen`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

from hl_utils.servers.process import ROOT

_ADAPTERS = tuple(
    f"hlfast.{name}" for name in ("db.postgres", "db.mysql", "events.redis", "events.rabbitmq")
)
# What a process of each verb has imported once it serves.
_MODULES = {
    "api": ("hlfast.serve_api", "hlfast.api", "hlfast.web.draining", "granian.asgi", *_ADAPTERS),
    "ws": ("hlfast.ws", *_ADAPTERS),
}
# Variables that the service reads; the interpreter and libc read theirs as they start.
_SETTINGS = ("HLFAST_", "DATABASE_URL", "DIALOGS_DATABASE_URL", "REDIS_URL", "EVENTS_URL")
_INHERITED = ("PATH", "HOME")
_PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    """A process that forks servers of one verb, for as long as this one lives."""

    def __init__(self, verb: str) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", verb],
            cwd=ROOT,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for pytest, which then ends its servers.
            start_new_session=True,
        )

    def fork(self, environment: Mapping[str, str], output: str) -> int:
        """The process ID of a new server, which is a child of this process."""
        order = {"environment": environment, "output": output}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            _adopt_orphans(True)
            try:
                stdin.write(json.dumps(order).encode() + b"\n")
                stdin.flush()
                return int(stdout.readline())
            finally:
                _adopt_orphans(False)


def _adopt_orphans(yes: bool) -> None:
    """Whether processes that descend from this one are its children when their parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


@cache
def _zygote(verb: str) -> Zygote:
    return Zygote(verb)


class _Fork(subprocess.Popen[bytes]):
    """A child that a zygote starts, and that ends like any other."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], output: str) -> None:
        self._environment, self._output = environment, output
        super().__init__(argv)

    def _execute_child(self, argv: Sequence[str], *_: object) -> None:
        self.pid = _zygote(argv[-1]).fork(self._environment, self._output)
        self._child_created = True


def start(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[bytes], **options: Any
) -> subprocess.Popen[bytes]:
    """What Popen does with a server's command line: by a fork where that comes to the same."""
    of_interpreter = {name for name in env if not name.startswith(_SETTINGS)} - {*_INHERITED}
    # Several workers count and drain together: their main process is started for real.
    is_one = env.get("HLFAST_WORKERS", "1") == "1"
    is_forked = is_one and cwd == ROOT and argv[-1] in _MODULES and not of_interpreter
    if sys.platform == "linux" and is_forked:
        return _Fork(argv, env, str(stdout.name))
    return subprocess.Popen(argv, cwd=cwd, env=env, stdout=stdout, **options)


def _serve(verb: str) -> int:
    """Fork at each line of the input; the exit code of the server, in a fork."""
    with tempfile.TemporaryDirectory(prefix="hlfast-zygote-") as metrics:
        if verb == "api":
            # prometheus_client looks when it is imported. A fork has a directory of its own.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        for module in _MODULES[verb]:
            importlib.import_module(module)
        command = importlib.import_module("hl_utils.command")
    gc.collect()
    gc.freeze()
    while order := _line():
        # A fork would lack any other thread, and have the locks that it holds.
        assert len([*Path("/proc/self/task").iterdir()]) == 1
        read, write = os.pipe()
        if (between := os.fork()) == 0:
            if (server := os.fork()) != 0:
                os.write(write, b"%d\n" % server)
                # So pytest becomes the parent.
                os._exit(0)
            os.close(read)
            os.close(write)
            _become(verb, **json.loads(order))
            code: int = command.main([verb])
            return code
        os.waitpid(between, 0)
        os.write(1, os.read(read, 20))
        os.close(read)
        os.close(write)
    return 0


def _line() -> bytes:
    """One line of the input, and nothing after it: a fork would have a copy of what is buffered."""
    line = b""
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        line += byte
    return line


def _become(verb: str, environment: Mapping[str, str], output: str) -> None:
    """Be as a process that was just started."""
    os.setsid()
    for name, flags, numbers in (
        (os.devnull, os.O_RDONLY, (0,)),
        (output, os.O_WRONLY | os.O_APPEND, (1, 2)),
    ):
        file = os.open(name, flags)
        for number in numbers:
            os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    if draining := sys.modules.get("hlfast.web.draining"):
        # It was shared with all forks of before, of which some have stopped.
        vars(draining)["_flag"] = mmap.mmap(-1, 1)
    sys.argv = [str(ROOT / "hl_utils" / "__main__.py"), verb]


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1]))
