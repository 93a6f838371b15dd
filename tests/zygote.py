"""Processes of `hlfast` under test, forked from one that has imported what they need.

An interpreter takes half a second of CPU to import an API or a node, a second for a tool, and
hundreds are started. So each process of pytest has one that has done so for each kind of verb, and
what is started is a fork of it: it takes on the environment, session, files and arguments of a
program that was just started, and calls `main` of the command. Its parent is pytest, as if started
from there. What tests a start itself starts it by `subprocess.Popen`.
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
from typing import Any

from hl_utils.servers.process import ROOT

_ADAPTERS = tuple(
    f"hlfast.{name}" for name in ("db.postgres", "db.mysql", "events.redis", "events.rabbitmq")
)
# What a process of each kind has imported once it is at work.
_MODULES = {
    "api": ("hlfast.serve_api", "hlfast.api", "hlfast.web.draining", "granian.asgi", *_ADAPTERS),
    "ws": ("hlfast.ws", *_ADAPTERS),
    "tools": ("hl_utils.tables", "hl_utils.check", "hlfast.db.postgres", "hlfast.db.mysql"),
    "seed": ("hl_utils.user_faker", "hlfast.db.postgres", "hlfast.db.mysql"),
}
# The kind of each verb that is forked.
_KINDS = {
    "api": "api",
    "ws": "ws",
    "tables": "tools",
    "superuser": "tools",
    "check": "tools",
    "seed": "seed",
}
# Variables that the service reads; the interpreter and libc read theirs as they start.
_SETTINGS = (
    "HLFAST_",
    "DATABASE_URL",
    "DIALOGS_DATABASE_URL",
    "REDIS_URL",
    "EVENTS_URL",
    "FIRST_SUPERUSER",
)
_INHERITED = ("PATH", "HOME", "TMPDIR")
_PROGRAM = [sys.executable, "-m", "hl_utils"]
# Of the arguments of Popen._execute_child: the ends of the pipes.
_ENDS = slice(10, 16)
_PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    """A process that forks others of one kind, for as long as this one lives."""

    def __init__(self, kind: str) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", kind],
            cwd=ROOT,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for pytest, which then ends its servers.
            start_new_session=True,
        )

    def fork(
        self, words: Sequence[str], environment: Mapping[str, str], files: Sequence[str]
    ) -> int:
        """The process ID of a new process, which is a child of this one.

        `files`: what its input, output and complaints are.
        """
        order = {"words": words, "environment": environment, "files": files}
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
def _zygote(kind: str) -> Zygote:
    return Zygote(kind)


class _Fork(subprocess.Popen[bytes]):
    """A child that a zygote starts, and that ends like any other."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], **options: Any
    ) -> None:
        self._words, self._environment = words, environment
        super().__init__([*_PROGRAM, *words], **options)

    def _execute_child(self, *arguments: Any) -> None:
        # The two ends of three pipes, or a file's number and -1, or -1 twice.
        ends = arguments[_ENDS]
        inner = [own if end == -1 else end for own, end in enumerate((ends[0], ends[3], ends[5]))]
        files = [f"/proc/{os.getpid()}/fd/{number}" for number in inner]
        self.pid = _zygote(_KINDS[self._words[0]]).fork(self._words, self._environment, files)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def start(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], **options: Any
) -> subprocess.Popen[Any]:
    """What Popen does with a command line: by a fork where that comes to the same."""
    of_interpreter = {name for name in env if not name.startswith(_SETTINGS)} - {*_INHERITED}
    # Several workers count and drain together: their main process is started for real.
    is_one = env.get("HLFAST_WORKERS", "1") == "1"
    words = argv[len(_PROGRAM) :]
    is_known = [*argv[: len(_PROGRAM)]] == _PROGRAM and words and words[0] in _KINDS
    if sys.platform == "linux" and is_one and cwd == ROOT and is_known and not of_interpreter:
        return _Fork(words, env, **options)
    return subprocess.Popen(argv, cwd=cwd, env=env, **options)


def run(
    *words: str, env: Mapping[str, str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` does with `hlfast` and these words, without any input."""
    with start(
        [*_PROGRAM, *words],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, complaints = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, complaints)


def _serve(kind: str) -> int:
    """Fork at each line of the input; the exit code of what was started, in a fork."""
    with tempfile.TemporaryDirectory(prefix="hlfast-zygote-") as metrics:
        if kind == "api":
            # prometheus_client looks when it is imported. A fork has a directory of its own.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        for module in _MODULES[kind]:
            importlib.import_module(module)
        command = importlib.import_module("hl_utils.command")
    gc.collect()
    gc.freeze()
    while order := _line():
        # A fork would lack any other thread, and have the locks that it holds.
        assert len([*Path("/proc/self/task").iterdir()]) == 1
        asked = json.loads(order)
        # Before pytest has its answer: then it closes its ends of pipes.
        flags = (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_APPEND)
        files = [os.open(name, how) for name, how in zip(asked["files"], flags, strict=True)]
        read, write = os.pipe()
        if (between := os.fork()) == 0:
            if (started := os.fork()) != 0:
                os.write(write, b"%d\n" % started)
                # So pytest becomes the parent.
                os._exit(0)
            os.close(read)
            os.close(write)
            _become(asked["words"], asked["environment"], files)
            code: int = command.main(asked["words"])
            return code
        os.waitpid(between, 0)
        os.write(1, os.read(read, 20))
        for file in (read, write, *files):
            os.close(file)
    return 0


def _line() -> bytes:
    """One line of the input, and nothing after it: a fork would have a copy of what is buffered."""
    line = b""
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        line += byte
    return line


def _become(words: Sequence[str], environment: Mapping[str, str], files: Sequence[int]) -> None:
    """Be as a process that was just started."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    if draining := sys.modules.get("hlfast.web.draining"):
        # It was shared with all forks of before, of which some have stopped.
        vars(draining)["_flag"] = mmap.mmap(-1, 1)
    sys.argv = [str(ROOT / "hl_utils" / "__main__.py"), *words]


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1]))
