"""A pooler between the service and PostgreSQL: which of its modes will do."""

from __future__ import annotations

import shutil
import socket

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import START_S, Server, free_port, wait_until
from tests.check.command import found, wrong


class PgbouncerServer(Server):
    """PgBouncer on a loopback port, before a PostgreSQL server."""

    def __init__(self, postgres: PostgresServer, **settings: str | int) -> None:
        self.port = free_port()
        self._postgres = postgres
        self._settings = settings

    def url(self, dsn: str) -> str:
        """The DSN of a database of the server through the pooler."""
        name = dsn.split("/")[3].partition("?")[0]
        return f"postgresql://hlfast@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            **self._settings,
        }
        lines = ["[databases]", f"* = host={self._postgres.home.sockets} user=hlfast"]
        lines += ["[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
        configuration = self.home.data / "pgbouncer.ini"
        configuration.write_text("\n".join(lines))
        self.home.account.own(configuration)
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
        assert program, "PgBouncer is not installed (Debian: apt-get install pgbouncer)"
        self.spawn(program, configuration, log="pgbouncer.log")

        def listens() -> bool:
            assert self.process.poll() is None, (self.home.logs / "pgbouncer.log").read_text()
            with socket.socket() as client:
                client.settimeout(START_S)
                return client.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, "PgBouncer did not start")


def test_sessions_stay(sound: dict[str, str], postgres_server: PostgresServer) -> None:
    with PgbouncerServer(
        postgres_server, pool_mode="session", ignore_startup_parameters="jit"
    ) as pooler:
        assert found(sound | {"DATABASE_URL": pooler.url(sound["DATABASE_URL"])}) == []


@pytest.mark.parametrize(("mode", "connections"), [("transaction", 20), ("transaction", 2)])
def test_sessions_do_not_stay(
    sound: dict[str, str], postgres_server: PostgresServer, mode: str, connections: int
) -> None:
    with PgbouncerServer(
        postgres_server,
        pool_mode=mode,
        ignore_startup_parameters="jit",
        default_pool_size=connections,
    ) as pooler:
        environment = sound | {"DATABASE_URL": pooler.url(sound["DATABASE_URL"])}
        # More than once: what a look leaves behind in a session must not be in the next one's way.
        for _ in range(3):
            assert wrong(environment) == ["pooler-prepared database"]


def test_no_transaction_stays(sound: dict[str, str], postgres_server: PostgresServer) -> None:
    with PgbouncerServer(
        postgres_server, pool_mode="statement", ignore_startup_parameters="jit"
    ) as pooler:
        findings = wrong(sound | {"DATABASE_URL": pooler.url(sound["DATABASE_URL"])})
        assert findings == ["pooler-prepared database"]


def test_what_a_connection_begins_with_is_refused(
    sound: dict[str, str], postgres_server: PostgresServer
) -> None:
    with PgbouncerServer(postgres_server, pool_mode="session") as pooler:
        findings = found(sound | {"DATABASE_URL": pooler.url(sound["DATABASE_URL"])})
        assert [one["code"] for one in findings] == ["pooler-startup"]
        assert "jit" in findings[0]["what"]
