"""Three PostgreSQL servers that replicate, administrated by its manual's own lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from hl_utils.servers import families
from hl_utils.servers.home import StackError
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT, START_S, get, wait_until
from hl_utils.servers.services import Api
from hl_utils.servers.sql import migrate

DATABASE = "hlfast"
MANUAL = ROOT / "hl_utils" / "replicas" / "README.md"


def lines_of_the_manual(step: str) -> str:
    """The commands below the paragraph that begins with `step` in bold."""
    manual = MANUAL.read_text(encoding="utf-8")
    found = re.search(rf"^\*\*{re.escape(step)}.*?^```sh\n(.*?)^```$", manual, re.M | re.S)
    if found is None:
        raise StackError(f"{MANUAL} has no lines below {step!r}")
    return found[1]


class Member(PostgresServer):
    """A server of the cluster; a standby is made by the manual's line when it first starts."""

    def __init__(self, name: str, cluster: Cluster) -> None:
        super().__init__(wal_receiver_timeout="5s", wal_retrieve_retry_interval="100ms")
        self.name, self._cluster = name, cluster

    @property
    def conninfo(self) -> str:
        """The connection string that the scripts take."""
        return f"host={self.home.sockets} user=hlfast dbname=postgres"

    def start(self) -> None:
        if self.name != "a" and not self.data.exists():
            line = lines_of_the_manual("Add a standby").replace(" b ", f" {self.name} ")
            self._cluster.run(line, on=self)
        super().start()

    def sql(self, statement: str) -> str:
        """The output of a statement that psql runs."""
        return self.psql(DATABASE, "-c", statement).strip()

    def kill(self) -> None:
        """Kill all of its processes, as a crash of the machine does."""
        if self.process.poll() is None:
            families.kill(self)

    def cut_off(self) -> None:
        """Receive nothing from now on."""
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.sql("SELECT pg_reload_conf()")
        wait_until(
            lambda: self.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0",
            "it still receives",
        )


class Cluster:
    """`a` is the primary at first, `b` and `c` are its standbys."""

    def __init__(self) -> None:
        self.a, self.b, self.c = (Member(name, self) for name in "abc")
        self.members = [self.a, self.b, self.c]

    def run(self, lines: str, on: Member | None = None, **servers: Member) -> str:
        """The output of shell lines, as the servers' user; `servers` replaces A, B or C.

        Raises subprocess.CalledProcessError.
        """
        here = on or self.a
        scripts = here.directory / "hl_utils" / "replicas"
        if not scripts.exists():
            shutil.copytree(ROOT / "hl_utils" / "replicas", scripts)
            scripts.parent.chmod(0o755)
        names = {"A": self.a, "B": self.b, "C": self.c} | servers
        environment = {
            name: server.conninfo for name, server in names.items() if hasattr(server, "home")
        }
        path = f"{here.program('psql').parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", lines],
            check=False,
            cwd=here.directory,
            env=environment | {"PATH": path, "DATA": str(here.data)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **here.home.account.spawn,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, lines, done.stdout)
        return str(done.stdout)

    def manual(self, step: str, on: Member | None = None, **servers: Member) -> str:
        """Run the lines of a step of the manual."""
        return self.run(lines_of_the_manual(step), on, **servers)

    @property
    def settings(self) -> dict[str, object]:
        """The settings of the API for the servers, each named in both."""
        return {"DATABASE_REPLICA_URLS": ",".join(one.url(DATABASE) for one in self.members)}

    @property
    def url(self) -> str:
        """The URL of whichever member takes writes."""
        hosts = ",".join(str(one.home.sockets) for one in self.members)
        return f"postgresql://hlfast@/{DATABASE}?host={hosts}&target_session_attrs=read-write"

    @property
    def primary(self) -> Member:
        """Whichever of those that answer is one."""
        alive = [one for one in self.members if one.process.poll() is None]
        [primary] = [one for one in alive if one.sql("SELECT pg_is_in_recovery()") == "f"]
        return primary

    def streaming(self, primary: Member) -> dict[str, str]:
        """Who follows, and whether it is `sync`, `quorum` or `async`."""
        rows = primary.sql(
            "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        )
        return dict(row.split("|") for row in rows.splitlines())

    def until_followed(self, primary: Member, *standbys: Member) -> None:
        """Wait until these stream from it."""
        names = {one.name for one in standbys}
        wait_until(lambda: names <= self.streaming(primary).keys(), f"{names} do not follow")


@contextmanager
def running() -> Iterator[Cluster]:
    """The three, with the tables."""
    cluster = Cluster()
    with ExitStack() as stack:
        stack.enter_context(cluster.a)
        cluster.manual("Prepare")
        migrate(cluster.a, DATABASE)
        for standby in (cluster.b, cluster.c):
            stack.enter_context(standby)
        cluster.until_followed(cluster.a, cluster.b, cluster.c)
        yield cluster


def answered(api: Api) -> dict[str, float]:
    """How many reads were answered by whom: `replica`, `primary`, `fallback`."""
    _, text = get(api.port, "/metrics")
    found = re.findall(r'^hlfast_replicated_reads_total\{answered_by="(\w+)"\} (\S+)$', text, re.M)
    return {name: float(count) for name, count in found}


def health(api: Api, which: str) -> tuple[int, Any]:
    """Status and body of one of /health/*."""
    status, body = get(api.port, f"/health/{which}", START_S)
    return status, json.loads(body)
