"""An upgrade as an operator does it, under load; the same on Citus is in tests/citus."""

from __future__ import annotations

import itertools
from pathlib import Path

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.sql import SqlServer
from tests.conftest import new_database
from tests.upgrade.rolling import roll

_numbers = itertools.count(1)


def test_processes_are_rolled_and_nothing_is_lost(
    database_server: SqlServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    url = new_database(database_server)
    roll(tmp_path, url, url, redis_server.url, f"rolled{next(_numbers)}")
