"""The real HAProxy with the project's own file, in which only the servers' lines are replaced."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from hl_utils.servers.home import StackError
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

CONFIGURATION = ROOT / "haproxy" / "haproxy.cfg"
DRAIN = ROOT / "haproxy" / "drain_server.sh"
# Debian has it where not everybody looks.
PROGRAM = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or "haproxy"
_API_LINE = "    server api1 127.0.0.1:8010\n"
_WS_LINE = "    server ws1 127.0.0.1:8001\n"
# In a test one address does it all.
UNLIMITED = {"HLFAST_ADDRESS_CONNECTIONS_MAX": "0", "HLFAST_ADDRESS_REQUESTS_MAX": "0"}


class Proxy:
    """HAProxy on free ports. `apis` and `nodes` are the servers' ports, `settings` its environment.

    Servers are called api1, api2 …, ws1, ws2 …
    """

    def __init__(
        self, apis: Sequence[int], nodes: Sequence[int], settings: Mapping[str, str] = UNLIMITED
    ) -> None:
        self.apis, self.nodes = list(apis), list(nodes)
        self.port, self.statistics_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self.statistics_url = f"http://127.0.0.1:{self.statistics_port}"
        self._settings = {
            "HLFAST_HAPROXY_BIND": f":{self.port}",
            "HLFAST_HAPROXY_STATISTICS": f"127.0.0.1:{self.statistics_port}",
            **settings,
        }

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="hlfast-haproxy-"))
        self.master = self.directory / "master.sock"
        self._configure()
        begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        end(self)

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [PROGRAM, "-W", "-db", "-S", self.master, "-f", self._file],
                env={"PATH": os.environ["PATH"]} | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._answers, "HAProxy did not start")

    def stop(self) -> None:
        """End it, connections that are open included."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_S)

    def kill(self) -> None:
        """Kill the master by SIGKILL, which its worker does not survive."""
        self.process.kill()
        self.process.wait(START_S)

    def clear(self) -> None:
        """Remove the files of the server, which has ended."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log_file.read_text()

    def reload(self) -> None:
        """Reload the configuration, as `systemctl reload haproxy` does, with the servers of now."""
        before = self._workers()
        self._configure()
        self.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: self._workers() - before, "HAProxy was not reloaded")

    def drain(self, *arguments: str) -> str:
        """The output of drain_server.sh. Raises subprocess.CalledProcessError."""
        done = subprocess.run(
            ["bash", DRAIN, *arguments],
            env={"PATH": os.environ["PATH"], "HAPROXY_MASTER": str(self.master)},
            check=True,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        return done.stdout

    def statistics(self) -> dict[str, dict[str, str]]:
        """The present worker's row of each server, by BACKEND/SERVER. Raises OSError."""
        _, text = get(self.statistics_port, "/;csv", START_S)
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {f"{row['pxname']}/{row['svname']}": row for row in rows}

    def wait_until_up(self) -> None:
        """Wait until HAProxy takes every server for ready."""
        names = [f"api/api{number}" for number in range(1, len(self.apis) + 1)]
        names += [f"websocket/ws{number}" for number in range(1, len(self.nodes) + 1)]

        def are_up() -> bool:
            # Of a reload, the old process may answer, which does not know them all.
            rows = self.statistics()
            return all(rows.get(name, {}).get("status") == "UP" for name in names)

        wait_until(are_up, f"{names} are not all up")

    @property
    def _file(self) -> Path:
        return self.directory / "haproxy.cfg"

    @property
    def _log_file(self) -> Path:
        return self.directory / "haproxy.log"

    def _configure(self) -> None:
        text = CONFIGURATION.read_text()
        for line, ports in ((_API_LINE, self.apis), (_WS_LINE, self.nodes)):
            if text.count(line) != 1:
                raise StackError(f"{CONFIGURATION} has not exactly one line {line!r}")
            name = line.split()[1].rstrip("1")
            lines = [
                f"    server {name}{number} 127.0.0.1:{port}\n"
                for number, port in enumerate(ports, 1)
            ]
            text = text.replace(line, "".join(lines))
        self._file.write_text(text)

    def _answers(self) -> bool:
        need_running(self.process, self._log_file)
        try:
            return bool(self.statistics())
        except OSError:
            return False

    def _workers(self) -> set[str]:
        """Process ids of the present worker and of those that a reload has left."""
        answer = b""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(START_S)
            # While it reloads, the master does not listen, or hangs up.
            with suppress(ConnectionError):
                client.connect(str(self.master))
                client.sendall(b"show proc\nquit\n")
                while part := client.recv(65536):
                    answer += part
        rows = (line.split() for line in answer.decode().splitlines())
        return {row[0] for row in rows if row[1:2] == ["worker"]}
