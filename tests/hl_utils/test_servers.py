"""Private servers: what of the caller reaches them, and what one leaves that does not start."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import redis

from hl_utils.servers.home import StackError
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import Server
from hl_utils.servers.redis import LogRedisServer, RedisServer
from hl_utils.servers.services import Api

CALLERS = {
    "PGPORT": "1",
    "PGDATA": "/nowhere",
    "PGHOST": "/nowhere",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGTZ": "Asia/Kathmandu",
    "TZ": "Asia/Kathmandu",
}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where servers make their directories: one that the servers' user can get to."""
    found = Path(tempfile.mkdtemp(prefix="hlfast-place-"))
    found.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def test_the_callers_environment_is_not_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CALLERS.items():
        monkeypatch.setenv(name, value)
    with PostgresServer() as server:
        assert server.psql("postgres", "-c", "SHOW search_path").strip() == '"$user", public'
        assert server.psql("postgres", "-c", "SHOW timezone").strip() == "UTC"
        variables = Path(f"/proc/{server.process.pid}/environ").read_text()
        assert not any(name in variables for name in ("PGPORT", "PGDATA", "Kathmandu"))


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (PostgresServer(nonsense=1), "nonsense"),
        (RedisServer(nonsense="1"), "nonsense"),
        (Api("postgresql://", "unix:///nowhere", HLFAST_WORKERS="many"), "workers"),
    ],
)
def test_one_that_does_not_start_says_why_and_leaves_nothing(
    place: Path, server: Server | Api, reason: str
) -> None:
    with pytest.raises(StackError, match=f"(?i){reason}"):
        server.__enter__()
    assert server.process.poll() is not None
    assert list(place.iterdir()) == []
    place.rmdir()


def test_what_the_event_logs_redis_confirmed_is_on_disk() -> None:
    with LogRedisServer() as server, redis.Redis.from_url(server.url) as client:
        wanted = {"appendonly": "yes", "appendfsync": "always"}
        assert wanted.items() <= client.config_get("append*").items()
