"""A URL that says where a database is says all of it, whatever PGPORT and its like say."""

from __future__ import annotations

import asyncio

import pytest

from hl_utils.servers.postgres import PostgresServer
from hlfast.db import postgres, queries
from hlfast.settings import Settings
from tests.conftest import TEMPLATE

HOSTILE = {
    "PGPORT": "5433",
    "PGHOST": "127.0.0.1",
    "PGUSER": "somebody",
    "PGDATABASE": "elsewhere",
    "PGPASSWORD": "another one's",
    "PGPASSFILE": "/nowhere",
    "PGSERVICE": "nowhere",
    "PGSERVICEFILE": "/nowhere",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere",
    "PGSSLNEGOTIATION": "direct",
    "PGGSSLIB": "nonsense",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGTZ": "Asia/Tokyo",
}


@pytest.fixture(params=[*HOSTILE, "all of them"])
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a caller who has set it for other databases."""
    for name, value in HOSTILE.items():
        if request.param in (name, "all of them"):
            monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile")
def test_they_reach_no_connection(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(TEMPLATE)

    async def run() -> None:
        # The tools' way and the pools'.
        connection = await postgres.connect(url)
        assert await connection.fetchval("SELECT current_database()") == TEMPLATE
        await connection.close()
        settings = Settings(database_url=url, database_pool_size=1)
        database = await postgres.open_database(url, [queries.MAIN], settings)
        assert await database.fetch_row("ping")
        await database.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://u:p@host/d", 5432),
        ("postgresql://u:p@[::1]/d", 5432),
        ("postgresql://u:p@/d?host=/run", 5432),
        ("postgresql://u:p@%2Frun/d", 5432),
        ("postgresql://u:p@host:5433/d", None),
        ("postgresql://u:p@[::1]:5433/d", None),
        ("postgresql://u:p@/d?host=/run&port=5433", None),
        # It does not say where.
        ("postgresql:///d", None),
    ],
)
def test_the_port_of_a_url_without_one_is_the_usual_one(url: str, port: int | None) -> None:
    assert postgres.unsaid(url).get("port") == port


def test_what_makes_a_connection_safer_is_still_heeded() -> None:
    assert "ssl" not in postgres.unsaid("postgresql://u@host/d")
    assert postgres.unsaid("postgresql://u@%2Frun/d")["ssl"] is False
    assert "ssl" not in postgres.unsaid("postgresql://u@%2Frun/d?sslmode=require")
