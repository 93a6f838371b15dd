"""The service's own processes, each on a free port."""

from __future__ import annotations

import http
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Self

from hl_utils.servers.process import (
    ROOT,
    START_S,
    begin,
    end,
    free_port,
    get,
    need_running,
    wait_until,
)

SECRET = "the tests' own secret, which signs nothing else"  # noqa: S105 (it signs nothing of value)


def command_of(root: Path) -> str:
    """The module of a tree that is the `hlfast` command; an older tree has it in the service."""
    return "hl_utils" if (root / "hl_utils" / "__main__.py").exists() else "hlfast"


class Api:
    """`hlfast api` on a free port. `settings` are environment variables."""

    # Of the `hlfast` command.
    verb = "api"
    # Whose code it runs.
    root = ROOT
    # How a process is started: the tests have a cheaper way.
    popen: ClassVar[Callable[..., subprocess.Popen[bytes]]] = subprocess.Popen
    # Settings of each that is not given others.
    usual: ClassVar[Mapping[str, object]] = {}

    def __init__(self, database_url: str, redis_url: str, **settings: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HLFAST_SECRET": SECRET,
            "HLFAST_HTTP_PORT": str(self.port),
            # No load balancer looks at its readiness.
            "HLFAST_DRAIN_NOTICE_S": "0",
            "HLFAST_PASSWORD_HASH_MEMORY_KIB": "256",
            "HLFAST_PASSWORD_HASH_TIME": "1",
            **{name: str(value) for name, value in {**self.usual, **settings}.items()},
        }

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="hlfast-api-"))
        begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        end(self)

    @property
    def log(self) -> str:
        """What the process wrote so far."""
        return self._log_file.read_text()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self.launch()
        wait_until(self._ready, f"hlfast {self.verb} did not start")

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        names = ("PATH", "HOME", "TMPDIR")
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        with self._log_file.open("ab") as output:
            self._log_begins = output.tell()
            self.process = type(self).popen(
                [sys.executable, "-m", command_of(self.root), self.verb],
                cwd=self.root,
                env=inherited | {"HLFAST_HOME": str(self.directory)} | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the process by SIGTERM, and wait until its requests are answered."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_S)

    def kill(self) -> None:
        """Kill every process of the service by SIGKILL."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(START_S)

    def clear(self) -> None:
        """Remove the files of the server, which has ended."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _log_file(self) -> Path:
        return self.directory / f"{self.verb}.log"

    def _ready(self) -> bool:
        # One worker may answer while another still starts, and waits for locks as a request does.
        return self._answers() and self._started_workers() >= int(
            self.settings.get("HLFAST_WORKERS", "1")
        )

    def _started_workers(self) -> int:
        with self._log_file.open("rb") as log:
            log.seek(self._log_begins)
            return log.read().count(b"Started worker-")

    def _answers(self) -> bool:
        need_running(self.process, self._log_file)
        try:
            status, _ = get(self.port, "/health/ready")
        except OSError:
            return False
        return status == http.HTTPStatus.OK


class Node(Api):
    """`hlfast ws` on a free port. `settings` are environment variables."""

    verb = "ws"

    def __init__(self, database_url: str, redis_url: str, **settings: object) -> None:
        super().__init__(database_url, redis_url, **settings)
        self.settings["HLFAST_WS_PORT"] = str(self.port)
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"

    def _ready(self) -> bool:
        return self._answers()
