"""Threads of the API do not interrupt each other, unless that is switched off."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.processes import tree
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(sys.platform != "linux", reason="Linux schedules so, and no other system"),
]


def test_threads_do_not_interrupt_each_other(api: Api) -> None:
    assert policies(api) == {os.SCHED_BATCH}


def test_unless_that_is_switched_off(migrated_database_url: str, redis_server: RedisServer) -> None:
    switched = {"HLFAST_TUNING__BATCH_SCHEDULING": "false"}
    with Api(migrated_database_url, redis_server.url, **switched) as api:
        assert policies(api) == {os.SCHED_OTHER}


def policies(api: Api) -> set[int]:
    """The scheduling policies of all threads of a process."""
    processes = tree(api.process.pid)
    threads = [int(task.name) for pid in processes for task in Path(f"/proc/{pid}/task").iterdir()]
    # A worker beside the one that looks after it, each with threads of Rust's.
    assert len(processes) > 1
    assert len(threads) > len(processes)
    return {os.sched_getscheduler(thread) for thread in threads}
