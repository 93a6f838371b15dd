"""Redis or Valkey: how it is started and known to serve."""

from __future__ import annotations

import socket
from pathlib import Path

from hl_utils.servers import programs
from hl_utils.servers.process import Server, need_running, wait_until

PING = b"PING\r\n"
PONG = b"+PONG\r\n"


def redis(program: Path, directory: Path, address: Path, **settings: str) -> list[str | Path]:
    """The command that serves a directory's append-only file on a unix socket and nowhere else.

    What it writes goes to its standard output.
    """
    given: dict[str, str | Path] = {
        "port": "0",
        "unixsocket": address,
        "unixsocketperm": "700",
        "dir": directory,
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
        **settings,
    }
    return [program, *(word for name, value in given.items() for word in (f"--{name}", value))]


class RedisServer(Server):
    """Redis or Valkey on a unix socket, with its append-only file. `settings`: see `redis`."""

    def __init__(self, **settings: str) -> None:
        self._settings = settings

    @property
    def address(self) -> Path:
        """Its unix socket, in a directory that is closed to others."""
        return self.home.sockets / "redis.sock"

    @property
    def url(self) -> str:
        """What REDIS_URL says of it."""
        return f"unix://{self.address}"

    def start(self) -> None:
        program = programs.redis(self.home)
        command = redis(program, self.home.data, self.address, **self._settings)
        self.spawn(*command, log="redis.log")
        wait_until(self._answers, "Redis did not start")

    def _answers(self) -> bool:
        need_running(self.process, self.home.logs / "redis.log")
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.address))
                client.sendall(PING)
                return client.recv(16) == PONG
            except OSError:
                return False


class LogRedisServer(RedisServer):
    """Redis as the event log needs it: what it confirmed is on disk."""

    def __init__(self) -> None:
        super().__init__(appendfsync="always")
