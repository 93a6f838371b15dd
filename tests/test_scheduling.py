"""Threads of the API do not interrupt each other, unless that is switched off."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.processes import tree
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api


@pytest.mark.one_database
@pytest.mark.skipif(sys.platform != "linux", reason="Linux schedules so, and no other system")
@pytest.mark.parametrize(("switch", "policy"), [("true", "SCHED_BATCH"), ("false", "SCHED_OTHER")])
def test_the_policy_of_every_thread(
    switch: str, policy: str, migrated_database_url: str, redis_server: RedisServer
) -> None:
    switched = {"HLFAST_TUNING__BATCH_SCHEDULING": switch}
    with Api(migrated_database_url, redis_server.url, **switched) as api:
        processes = tree(api.process.pid)
        threads = [
            int(task.name) for pid in processes for task in Path(f"/proc/{pid}/task").iterdir()
        ]
        policies = {os.sched_getscheduler(thread) for thread in threads}
    # A worker beside the one that looks after it, each with threads of Rust's.
    assert len(processes) > 1
    assert len(threads) > len(processes)
    assert policies == {getattr(os, policy)}
