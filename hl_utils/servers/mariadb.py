"""MariaDB from Debian's package."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from hl_utils.servers.process import ENVIRONMENT, START_S, Server, need_running, wait_until

_PROTOCOL_VERSION = b"\x0a"


class MariadbServer(Server):
    """MariaDB from Debian's package, durable as in production, on a unix socket only.

    As strict as MySQL 8 is by default, with a binary log and a zone that is not UTC: what needs
    less of a server than that fails here. `settings` go to its command line.
    """

    SETTINGS: ClassVar[dict[str, str | int]] = {
        "character_set_server": "utf8mb4",
        "default_time_zone": "+05:30",
        "innodb_buffer_pool_size": "64M",
        "innodb_flush_log_at_trx_commit": 1,
        "innodb_log_file_size": "32M",
        "local_infile": 1,
        "log_bin": "binlog",
        # Or nobody but root could make triggers beside a binary log.
        "log_bin_trust_function_creators": 1,
        "max_connections": 200,
        "sql_mode": "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
        "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    }

    def __init__(self, **settings: str | int) -> None:
        self._settings = self.SETTINGS | settings
        # What makes a template's copies.
        self._statements: dict[str, str] = {}

    @property
    def log(self) -> Path:
        """The file of the server's log."""
        return self.home.logs / "mariadb.log"

    @property
    def socket(self) -> Path:
        """Its unix socket, in a directory that is closed to others."""
        return self.home.sockets / "mysql.sock"

    def url(self, database: str) -> str:
        """The DSN of one of its databases, for a user with every right in it and none beside."""
        return f"mysql://hlfast@localhost/{database}?unix_socket={self.socket}"

    def start(self) -> None:
        data = self.home.data / "mariadb"
        new = not data.exists()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        # A server that starts deletes the temporary tables of others that it finds there.
        options.append(f"--tmpdir={self.home.sockets}")
        if new:
            install = ["mariadb-install-db", "--no-defaults", "--skip-test-db"]
            install += ["--skip-name-resolve", "--auth-root-authentication-method=normal"]
            subprocess.run(
                [*install, f"--datadir={data}", *options],
                check=True,
                cwd="/",
                env=_environment(),
                stdout=subprocess.DEVNULL,
                **self.home.account.spawn,
            )
        paths = ["--no-defaults", f"--datadir={data}", f"--socket={self.socket}"]
        paths += ["--skip-networking", f"--pid-file={data}/pid"]
        environment = _environment()
        program = shutil.which("mariadbd", path=environment["PATH"]) or "mariadbd"
        self.spawn(program, *paths, *options, log=self.log.name, environment=environment)
        wait_until(self._answers, "MariaDB did not start")
        if new:
            self.administer("CREATE USER hlfast@localhost")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)

    def create_database(self, name: str, template: str = "") -> None:
        """A new database: empty, or with all that there was in another one at its first copy."""
        self.administer(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4;"
            f"GRANT ALL PRIVILEGES ON {name}.* TO hlfast@localhost"
        )
        if template:
            if template not in self._statements:
                # What spares a database in use takes as long as all the rest.
                spared = ("--skip-add-drop-table", "--skip-add-locks", "--skip-disable-keys")
                self._statements[template] = self.dump(template, *spared)
            self.mariadb(name, self._statements[template])

    def dump(self, database: str, *options: str) -> str:
        """The statements that make what there is in a database."""
        command = [*self._client("mariadb-dump", "hlfast"), "--routines", "--skip-comments"]
        command += ["--single-transaction", "--skip-lock-tables", *options, database]
        return _output(command)

    def mariadb(self, database: str, sql: str, user: str = "hlfast") -> str:
        """The output of statements: a line a row, columns between tabs.

        Raises subprocess.CalledProcessError.
        """
        command = [*self._client("mariadb", user), "--batch", "--skip-column-names", database]
        return _output(command, sql)

    def run_script(self, database: str, script: Path) -> None:
        """Through the client. Raises subprocess.CalledProcessError."""
        self.mariadb(database, script.read_text(encoding="utf-8"))

    def administer(self, sql: str) -> str:
        """The rows of a statement, run with all rights."""
        return self.mariadb("mysql", sql, user="root")

    def _client(self, program: str, user: str) -> list[str]:
        command = [program, "--no-defaults", f"--socket={self.socket}", f"--user={user}"]
        return [*command, "--default-character-set=utf8mb4"]

    def _answers(self) -> bool:
        """Whether the server greets who connects: no client is started for that."""
        need_running(self.process, self.log)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(START_S)
            try:
                client.connect(str(self.socket))
                greeting = client.recv(16)
            except OSError:
                return False
        # After length and number of the packet; instead of them an error has 0xff.
        return greeting[4:5] == _PROTOCOL_VERSION


def _environment() -> dict[str, str]:
    """ENVIRONMENT with the caller's PATH, and with where Debian has the server."""
    return ENVIRONMENT | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}


def _output(command: list[str], entered: str = "") -> str:
    """What a client prints. Raises subprocess.CalledProcessError."""
    try:
        return subprocess.run(
            command,
            input=entered,
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=_environment(),
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
