"""The embedded PostgreSQL: safe on disk, reached by password through a private unix socket."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

from hl_utils.embedded.processes import SERVERS, Server, described, end, exists, servers_in
from hl_utils.servers.home import Home, StackError, rename, write_private
from hl_utils.servers.postgres import DataDirectory
from hl_utils.servers.process import ENVIRONMENT
from hl_utils.servers.programs import POSTGRES_MAJOR

ROLE = "hlfast"
DATABASE = "hlfast"
SUPERUSER = "postgres"
# Replaying its log after a crash may take its time; what it wrote last says how far it is.
START_TIMEOUT_S = 300.0
CONNECTIONS_MIN = 100
# A quarter of a small machine. All of it may have to be written within the seconds of a stop.
SHARED_BUFFERS = "256MB"


class Postgres(Server):
    """One cluster in the home, with a role that owns its database and is no superuser."""

    name = "PostgreSQL"
    ending = SERVERS
    # Its backends are in sessions of their own: only it can end them at once.
    kill_signal = signal.SIGQUIT

    def __init__(self, home: Home, programs: Path, clients_max: int) -> None:
        super().__init__(home.logs / "postgres.log", home.account)
        self._home = home
        self._programs = programs
        self._clients_max = clients_max
        self._directory = home.data / "postgres"
        self._cluster = self._directory / "cluster"
        self._data = DataDirectory(self._cluster, programs, home.sockets)

    @property
    def url(self) -> str:
        """How the service reaches it."""
        host = quote(str(self._home.sockets), safe="")
        return f"postgresql://{ROLE}:{self._home.password(ROLE)}@/{DATABASE}?host={host}"

    @property
    def is_new(self) -> bool:
        """Whether there is no cluster yet."""
        return not self._cluster.exists()

    def check(self) -> None:
        """Raises StackError if we could not run the cluster: its version, its password."""
        try:
            found = (self._cluster / "PG_VERSION").read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise StackError(
                f"{self._cluster} is damaged (no PG_VERSION): restore it, or wipe it with "
                "`bash build.sh clean`"
            ) from None
        if found != POSTGRES_MAJOR:
            raise StackError(
                f"{self._cluster} was made by PostgreSQL {found}, this is {POSTGRES_MAJOR}: "
                "dump it with the hlfast that made it, or wipe it with `bash build.sh clean`"
            )
        if ROLE not in self._home.passwords():
            raise StackError(
                f"the password to {self._cluster} is lost: restore passwords.json, or wipe all "
                "with `bash build.sh clean`"
            )

    async def create(self) -> None:
        """Make the cluster, role and database: complete under its name, or not there at all."""
        new = self._directory / "new"
        password = self._directory / "password"
        if new.exists():
            shutil.rmtree(new)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._home.account.own(self._directory)
        write_private(password, self._home.password(SUPERUSER))
        self._home.account.own(password)
        # The C locale's order is that of the code points, on every platform; the builtin
        # provider knows upper and lower case beyond ASCII.
        options = ("--auth=scram-sha-256", "--locale=C", "--locale-provider=builtin")
        await self._run(
            *self._data.initdb(new, SUPERUSER, "--pwfile", password, *options),
            "--builtin-locale=C.UTF-8",
        )
        await self._run(
            *(self._programs / "postgres", "--single", "-D", new, "-cexit_on_error=on"),
            "template1",
            script=f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self._home.password(ROLE)}'\n"
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}\n",
        )
        password.unlink()
        rename(new, self._cluster)

    async def start(self) -> None:
        """Start it, and wait until it has recovered what a crash left. Raises StackError."""
        self._remove_stale_locks()
        settings = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "max_connections": max(CONNECTIONS_MIN, self._clients_max),
            "shared_buffers": SHARED_BUFFERS,
        }
        await self._launch(*self._data.postgres(settings), cwd=self._cluster, env=ENVIRONMENT)
        await self._until(self._is_ready, START_TIMEOUT_S)

    async def clear(self) -> None:
        """End a postmaster or backends that outlived their parent: they hold the data."""
        await end(servers_in(self._directory), SERVERS)

    async def _is_ready(self) -> bool:
        return self._data.is_served_by(self.process.pid)

    def _remove_stale_locks(self) -> None:
        """Remove lock files whose number was given to a stranger's process since, or a container.

        PostgreSQL itself removes those of a number that is free, once nobody uses the shared
        memory; it would take a stranger for a server. That none of ours lives is known: the home
        is locked, and `clear` was here.
        """
        pid = self._data.status()[:1]
        if pid and pid[0].isdigit() and exists(int(pid[0])):
            self._data.lock_file.unlink()
        for stale in self._home.sockets.glob(".s.PGSQL.*"):
            stale.unlink()

    async def _run(self, program: str | Path, *arguments: str | Path, script: str = "") -> None:
        """Run one of PostgreSQL's programs to its end. Raises StackError if it fails."""
        stdin, lines = os.pipe()
        try:
            os.write(lines, script.encode())
            os.close(lines)
            await self._launch(
                *(program, *arguments),
                cwd=self._directory,
                env=ENVIRONMENT,
                stdin=stdin,
            )
        finally:
            os.close(stdin)
        code = await self.wait()
        if code != os.EX_OK:
            raise StackError(f"{Path(program).name} {described(code)}{self._reason()}")
