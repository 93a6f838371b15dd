"""PostgreSQL from its wheel: how a cluster is made, started and known to serve."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hl_utils.servers import programs
from hl_utils.servers.process import ENVIRONMENT, Server, need_running, wait_until

# It names the socket only: there is no TCP.
PORT = 5432
_ROLE = "hlfast"
_LINE_OF_PID = 0
_LINE_OF_STATUS = 7


@dataclass(frozen=True)
class DataDirectory:
    """A cluster on disk, the wheel's programs, and the directory of the socket it serves on.

    The programs want ENVIRONMENT and nothing beside it.
    """

    path: Path
    programs: Path
    sockets: Path

    def initdb(self, path: Path, superuser: str, *options: str | Path) -> list[str | Path]:
        """The command that makes a cluster at a path."""
        at = ("-D", path, "-U", superuser)
        return [self.programs / "initdb", *at, "--encoding=UTF8", "--no-instructions", *options]

    def postgres(self, settings: Mapping[str, object]) -> list[str | Path]:
        """The command that serves it; what it writes goes to its standard error."""
        given = {
            "listen_addresses": "",
            "unix_socket_directories": self.sockets,
            "port": PORT,
            "logging_collector": "off",
            "log_destination": "stderr",
            **settings,
        }
        options = (word for name, value in given.items() for word in ("-c", f"{name}={value}"))
        return [self.programs / "postgres", "-D", self.path, *options]

    @property
    def lock_file(self) -> Path:
        """Who serves it, and how far that is."""
        return self.path / "postmaster.pid"

    def status(self) -> list[str]:
        """The lines of the lock file; none if nobody serves it."""
        try:
            return self.lock_file.read_text().split("\n")
        except FileNotFoundError:
            return []

    def is_served_by(self, pid: int) -> bool:
        """Whether that process takes connections: what pg_ctl looks at, without making one."""
        status = self.status()
        return (
            len(status) > _LINE_OF_STATUS
            and status[_LINE_OF_PID] == str(pid)
            and status[_LINE_OF_STATUS].strip() == "ready"
        )


class PostgresServer(Server):
    """PostgreSQL from its wheel, durable as in production. `settings` go to its command line."""

    def __init__(self, **settings: str | int) -> None:
        self._settings = settings

    @property
    def log(self) -> Path:
        """The file of the server's log."""
        return self.home.logs / "postgres.log"

    @property
    def data(self) -> Path:
        """The data directory of the server, made by initdb."""
        return self.home.data / "postgres"

    def url(self, database: str) -> str:
        """The DSN of one of its databases."""
        return f"postgresql://{_ROLE}@/{database}?host={self.home.sockets}"

    def program(self, name: str) -> Path:
        """A program of the wheel: `psql`, `initdb`."""
        return programs.postgres(self.home) / name

    def start(self) -> None:
        directory = DataDirectory(self.data, programs.postgres(self.home), self.home.sockets)
        if not self.data.exists():
            # The C locale's lower() knows ASCII only: what needs more of a server fails here.
            options = ["--auth=trust", "--no-locale", "--no-sync"]
            subprocess.run(
                directory.initdb(self.data, _ROLE, *options),
                check=True,
                cwd="/",
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                **self.home.account.spawn,
            )
        self.spawn(
            *directory.postgres({"max_connections": 200, **self._settings}), log=self.log.name
        )

        def serves() -> bool:
            need_running(self.process, self.log)
            return directory.is_served_by(self.process.pid)

        wait_until(serves, "PostgreSQL did not start")

    def create_database(self, name: str, template: str = "") -> None:
        """A new database: empty, or with all that there is in another one."""
        template = template or "template0"
        self.psql("postgres", "-c", f"CREATE DATABASE {name} TEMPLATE {template}")

    def run_script(self, database: str, script: Path) -> None:
        """Through the client. Raises subprocess.CalledProcessError."""
        self.psql(database, "-f", script)

    def psql(self, database: str, *arguments: str | Path) -> str:
        """The output of psql with these arguments. Raises subprocess.CalledProcessError."""
        options = ("-XqAtv", "ON_ERROR_STOP=1", "-d", self.url(database))
        command: list[str | Path] = [self.program("psql"), *options, *arguments]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=ENVIRONMENT,
        )
        return done.stdout
