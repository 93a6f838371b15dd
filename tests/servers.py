"""Real servers for the tests, on sockets and ports of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from hl_utils.embedded import programs
from hl_utils.embedded.home import Home

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0
SECRET = "the tests' own secret, which signs nothing else"


def free_port() -> int:
    """A TCP port of the loopback address that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, what: str, within_s: float = START_S) -> Any:
    """The first true answer of `condition`. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)
    return answer


def _end(server: Server | Api) -> None:
    """Stop it. One that does not end is killed, so that nothing outlives the tests, and fails them.

    Raises subprocess.TimeoutExpired, which names the process.
    """
    try:
        server.stop()
    except subprocess.TimeoutExpired:
        server.kill()
        raise


class Server:
    """A process with a private directory, gone when the block ends."""

    process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        # Not below pytest's directory: root closes that to the servers' user.
        self.directory = Path(tempfile.mkdtemp(prefix="hlfast-test-"))
        self.home = Home(self.directory)
        self.home.furnish()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self)
        shutil.rmtree(self.home.sockets, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it serves."""
        raise NotImplementedError

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and wait for that."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(START_S)

    def kill(self) -> None:
        """As kill -9 does."""
        self.stop(signal.SIGKILL)

    def spawn(self, *argv: str | Path, log: str) -> None:
        """Start the process as the servers' user; its output goes to a log."""
        with (self.home.logs / log).open("ab") as output:
            self.process = subprocess.Popen(
                list(map(str, argv)),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **self.home.account.spawn,
            )


class PostgresServer(Server):
    """PostgreSQL from its wheel, durable as in production. `settings` go to its command line."""

    def __init__(self, **settings: str | int) -> None:
        self._settings = settings

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.home.logs / "postgres.log"

    def url(self, database: str) -> str:
        """The DSN of one of its databases."""
        return f"postgresql://hlfast@/{database}?host={self.home.sockets}"

    def program(self, name: str) -> Path:
        """A program of the wheel: `psql`, `initdb`."""
        return programs.postgres(self.home) / name

    def start(self) -> None:
        data = self.home.data / "postgres"
        if not data.exists():
            options = ["--auth=trust", "--username=hlfast", "--encoding=UTF8", "--no-locale"]
            subprocess.run(
                [self.program("initdb"), "-D", data, *options, "--no-sync"],
                check=True,
                cwd="/",
                stdout=subprocess.DEVNULL,
                **self.home.account.spawn,
            )
        arguments = {
            "listen_addresses": "",
            "unix_socket_directories": self.home.sockets,
            "max_connections": 200,
            **self._settings,
        }
        options = [f"-c{name}={value}" for name, value in arguments.items()]
        self.spawn(self.program("postgres"), "-D", data, *options, log="postgres.log")
        wait_until(self._answers, "PostgreSQL did not start")

    def create_database(self, name: str, template: str = "") -> None:
        """A new database: empty, or with all that there is in another one."""
        template = template or "template0"
        self.psql("postgres", "-c", f"CREATE DATABASE {name} TEMPLATE {template}")

    def run_script(self, database: str, script: Path) -> None:
        """Through the client. Raises subprocess.CalledProcessError."""
        self.psql(database, "-f", script)

    def psql(self, database: str, *arguments: str | Path) -> str:
        """The output of psql with these arguments. Raises subprocess.CalledProcessError."""
        command = [self.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        command = [self.program("psql"), "-XqAt", "-d", self.url("postgres"), "-c", "SELECT 1"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


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
        "max_connections": 200,
        "sql_mode": "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
        "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    }

    def __init__(self, **settings: str | int) -> None:
        self._settings = self.SETTINGS | settings

    @property
    def log(self) -> Path:
        """What the server writes."""
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
        if new:
            install = ["mariadb-install-db", "--no-defaults", "--skip-test-db"]
            install += ["--skip-name-resolve", "--auth-root-authentication-method=normal"]
            subprocess.run(
                [*install, f"--datadir={data}", *options],
                check=True,
                cwd="/",
                stdout=subprocess.DEVNULL,
                **self.home.account.spawn,
            )
        place = ["--no-defaults", f"--datadir={data}", f"--socket={self.socket}"]
        place += ["--skip-networking", f"--pid-file={data}/pid"]
        program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
        self.spawn(program or "mariadbd", *place, *options, log="mariadb.log")
        wait_until(self._answers, "MariaDB did not start")
        if new:
            self.administer("CREATE USER hlfast@localhost")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)

    def create_database(self, name: str, template: str = "") -> None:
        """A new database: empty, or with all that there is in another one."""
        self.administer(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4;"
            f"GRANT ALL PRIVILEGES ON {name}.* TO hlfast@localhost"
        )
        if template:
            self.mariadb(name, self.dump(template))

    def dump(self, database: str) -> str:
        """The statements that make what there is in a database."""
        command = [*self._client("mariadb-dump", "hlfast"), "--routines", "--skip-comments"]
        command += ["--single-transaction", "--skip-lock-tables", database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def mariadb(self, database: str, sql: str, user: str = "hlfast") -> str:
        """The output of statements: a line a row, columns between tabs.

        Raises subprocess.CalledProcessError.
        """
        command = [*self._client("mariadb", user), "--batch", "--skip-column-names", database]
        done = subprocess.run(command, input=sql, check=True, capture_output=True, text=True)
        return done.stdout

    def run_script(self, database: str, script: Path) -> None:
        """Through the client. Raises subprocess.CalledProcessError."""
        self.mariadb(database, script.read_text(encoding="utf-8"))

    def administer(self, sql: str) -> str:
        """The same with all rights."""
        return self.mariadb("mysql", sql, user="root")

    def _client(self, program: str, user: str) -> list[str]:
        command = [program, "--no-defaults", f"--socket={self.socket}", f"--user={user}"]
        return [*command, "--default-character-set=utf8mb4"]

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        command = [*self._client("mariadb", "root"), "-e", "SELECT 1"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


SqlServer = PostgresServer | MariadbServer
# By dialect of SQL.
SERVERS: dict[str, type[SqlServer]] = {"postgres": PostgresServer, "mysql": MariadbServer}


class RedisServer(Server):
    """Redis or Valkey on a unix socket, with its append-only file."""

    @property
    def url(self) -> str:
        """What REDIS_URL says of it."""
        return f"unix://{self.home.sockets}/redis.sock"

    def start(self) -> None:
        address = self.home.sockets / "redis.sock"
        options = ["--port", "0", "--unixsocket", address, "--save", "", "--appendonly", "yes"]
        self.spawn(programs.redis(self.home), *options, "--dir", self.home.data, log="redis.log")

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(address))
                    client.sendall(b"PING\r\n")
                    return client.recv(16).startswith(b"+PONG")
                except OSError:
                    return False

        wait_until(answers, "Redis did not start")


class Api:
    """`hlfast api` on a free port. `settings` are environment variables."""

    # Of the `hlfast` command.
    verb = "api"

    def __init__(self, database_url: str, redis_url: str, **settings: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HLFAST_SECRET": SECRET,
            "HLFAST_HTTP_PORT": str(self.port),
            "HLFAST_PASSWORD_HASH_MEMORY_KIB": "256",
            "HLFAST_PASSWORD_HASH_TIME": "1",
            **{name: str(value) for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="hlfast-api-"))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def log(self) -> str:
        """What the process wrote so far."""
        return (self.directory / "api.log").read_text()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self.directory / "api.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hlfast", self.verb],
                cwd=ROOT,
                env=inherited | {"HLFAST_HOME": str(self.directory)} | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self._ready, f"hlfast {self.verb} did not start")

    def stop(self) -> None:
        """End it gracefully."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_S)

    def kill(self) -> None:
        """As kill -9 of every process of it does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(START_S)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log[-2000:]
        try:
            return httpx.get(f"{self.url}/health/ready").status_code == 200
        except httpx.TransportError:
            return False
