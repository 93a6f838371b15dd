"""A stack as an operator starts it, on a home and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hl_utils.servers.process import ROOT, free_port, wait_until
from tests.clients import PASSWORD, Client

# What the project promises of a stop; everything else is only waited for.
STOP_S = 10.0
# What would replace an embedded server, or the home.
URLS = ("DATABASE_URL", "DIALOGS_DATABASE_URL", "REDIS_URL", "EVENTS_URL")
CLEAN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in URLS and not name.startswith("HLFAST_")
}
# What a caller has for other servers, and a secret that is nobody's business but theirs.
CALLERS = {
    "PGPORT": "5433",
    "PGHOST": "127.0.0.1",
    "PGUSER": "somebody",
    "PGDATABASE": "elsewhere",
    "PGSSLMODE": "verify-full",
    "PGTARGETSESSIONATTRS": "standby",
    "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
    "MYSQL_ROOT_PASSWORD": "of another server",
}


class Stack:
    """`hlfast up` on a home and a port of its own."""

    process: subprocess.Popen[bytes]

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.with_name(f"{home.name}.log")
        self.environment = {
            **CLEAN_ENVIRONMENT,
            "HLFAST_HOME": str(home),
            "HLFAST_HTTP_PORT": str(self.port),
            "HLFAST_WS_PORT": str(free_port()),
            **CALLERS,
            **environment,
        }

    def launch(self) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hl_utils", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def start(self) -> dict[str, Any]:
        """Start it, and wait until its stack file says how it is reached; what that says."""
        self.launch()
        try:
            urls: dict[str, Any] = wait_until(self.reached, "the stack did not start")
            return urls
        finally:
            print(self.output)  # pytest shows it if the test fails

    def reached(self) -> dict[str, Any] | None:
        """What the stack file says, once this process has written it."""
        assert self.process.poll() is None, self.output
        try:
            found: dict[str, Any] = json.loads((self.home / "stack.json").read_text())
        except FileNotFoundError:
            return None
        return found if found["pid"] == self.process.pid else None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after a signal, within the promised time."""
        self.process.send_signal(how)
        return self.process.wait(STOP_S)

    def run(self, *verb: str, prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Exit code, output and errors of a verb that ends by itself."""
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "hl_utils", *verb],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text()

    def processes(self) -> list[psutil.Process]:
        """Whatever has to do with the home, this test excepted."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [process.cwd(), *process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if any(str(self.home) in word for word in words):
                found.append(process)
        return found

    def server(self, name: str) -> psutil.Process:
        """A child of `up` by the name of its program, or by our own verb."""
        return next(
            child
            for child, program, words in self._children()
            if program.startswith(name) or words[-2:] == ["hl_utils", name]
        )

    def programs(self) -> list[str]:
        """The name of each child's program."""
        return [program for _, program, _ in self._children()]

    def _children(self) -> list[tuple[psutil.Process, str, list[str]]]:
        """With name and command line, but for those that end while they are looked at."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                found.append((child, child.name(), child.cmdline()))
        return found

    def answers(self, username: str) -> bool:
        """Whether a user who was registered before can log in now."""
        with Client(self.url) as somebody:
            try:
                form = {"username": username, "password": PASSWORD}
                return somebody.post("/login", data=form).status_code == 200
            except OSError:
                return False


def refusal(outcome: tuple[int, str, str]) -> str:
    """The one line that a refused verb leaves."""
    code, _, errors = outcome
    assert code == 1
    assert errors.startswith("hlfast: ")
    assert errors.count("\n") == 1
    return errors
