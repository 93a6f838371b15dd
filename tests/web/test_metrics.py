"""/metrics: of all processes together, whichever answers."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from hl_utils.servers import families
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import LogRedisServer, RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import name_of
from tests import wire
from tests.clients import PASSWORD, Client
from tests.web.locks import locked, wait_for_waiting

pytestmark = pytest.mark.one_database


def scrape(api: Api) -> tuple[str, dict[str, float]]:
    """Which process answered, and the series by name and labels."""
    answer = wire.get(api.url, b"/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", answer.body.decode(), re.MULTILINE)
    process = answer.headers["x-request-id"].partition("-")[0]
    return process, {name: float(value) for name, value in lines}


def scrape_both(api: Api) -> dict[str, float]:
    """The series once each of two processes has answered: what either had counted is in them.

    One shows its own numbers as they are, and the other's as they were up to a second ago, when an
    earlier test may still have been asking.
    """
    processes: set[str] = set()
    found: dict[str, float] = {}

    def both_answered() -> bool:
        nonlocal found
        process, found = scrape(api)
        processes.add(process)
        return len(processes) == 2

    wait_until(both_answered, "one process answers everything")
    return found


def series(endpoint: str, status: int) -> str:
    """The counter of an endpoint's answers."""
    return f'hlfast_requests_total{{endpoint="{endpoint}",status="{status}"}}'


def test_every_process_counts_and_each_tells_all(several: Api) -> None:
    counted = [series("users_get", 404), series("users_get", 200)]
    duration = 'hlfast_request_duration_seconds_count{endpoint="users_get"}'
    with Client(several.url) as client:
        user_id = client.user().id
    before = scrape_both(several)
    asked: Counter[str] = Counter()

    def both_were_asked() -> bool:
        for path, status in (
            (b"/api/v1/users/0", 404),
            (b"/api/v1/users/%d" % user_id, 200),
        ):
            answer = wire.get(several.url, path)
            assert answer.status == status
            asked[answer.headers["x-request-id"].partition("-")[0]] += 1
        return len(asked) == 2

    wait_until(both_were_asked, "one process answers everything")
    wanted = {name: asked.total() / 2 for name in counted} | {duration: asked.total()}
    showed: set[str] = set()

    def both_counted() -> bool:
        # Each tells its own numbers as they are, and the other's as they were a second ago.
        process, now = scrape(several)
        if all(now.get(name, 0) - before.get(name, 0) == count for name, count in wanted.items()):
            showed.add(process)
        return len(showed) == 2

    wait_until(both_counted, "some requests were not counted, or not by both")
    assert showed == asked.keys()


def test_statuses_are_counted_apart(several: Api) -> None:
    with Client(several.url) as client:
        me = client.user()
        before = scrape_both(several)
        me.write()
        me.post("/posts", json={})
        me.post("/posts", content=b"{")
        client.post("/posts", json={})
        me.post("/posts", content=b" " * 65537)
        me.post("/posts", json={"content": "x", "client_id": "a"})
        me.post("/posts", json={"content": "x", "client_id": "a"})
    counts = {201: 2, 200: 1, 400: 1, 401: 1, 413: 1, 422: 1}
    wanted = {
        name: before.get(name, 0) + count
        for name, count in ((series("posts_create", status), n) for status, n in counts.items())
    }
    after = come_to(several, wanted)
    assert not [name for name in after if 'status="500"' in name]


# What each process keeps for itself, and shares once a second

POOL = 2
# Nothing but what is asked for goes to the database.
QUIET = {
    "HLFAST_DATABASE_POOL_SIZE": POOL,
    "HLFAST_DATABASE_TIMEOUT_S": 60,
    "HLFAST_OUTBOX_SWEEP_S": 3600,
    "HLFAST_DRAIN_TIMEOUT_S": 1,
    # Each read is a statement.
    "HLFAST_TUNING__BATCH_READS": "false",
}
IN_USE = 'hlfast_database_connections_in_use{database="main"}'
QUEUED = 'hlfast_database_queued_statements{database="main"}'
WAITS = 'hlfast_database_waits_total{database="main"}'
WAITED = 'hlfast_database_wait_seconds_total{database="main"}'
UNCONFIRMED = "hlfast_events_unconfirmed"
PASSWORDS = "hlfast_passwords_waiting"


def swept(outbox: str) -> str:
    """The rows of an outbox that were swept."""
    return f'hlfast_outbox_swept_rows_total{{outbox="{outbox}"}}'


def come_to(api: Api, wanted: dict[str, float]) -> dict[str, float]:
    """All series, once these are so."""
    found: dict[str, float] = {}

    def have_come() -> bool:
        nonlocal found
        # One that is killed may have taken the connection.
        with suppress(OSError, HTTPException):
            _, found = scrape(api)
        return all(found.get(name) == value for name, value in wanted.items())

    try:
        wait_until(have_come, "")
    except TimeoutError:
        assert {name: found.get(name) for name in wanted} == wanted
    return found


def walls(user_id: int, api: Api, count: int, threads: ThreadPoolExecutor, token: str) -> list[Any]:
    """So many requests at once, of one statement each."""
    target = b"/api/v1/users/%d/posts" % user_id
    header = f"Authorization: {token}".encode()
    return [threads.submit(wire.get, api.url, target, header) for _ in range(count)]


def test_what_waits_for_a_connection(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_database_url: str
) -> None:
    with (
        Api(migrated_database_url, redis_server.url, **QUIET) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
    ):
        me = anybody.user()
        # Of an empty wall it would also be asked whose it is.
        me.write()
        before = come_to(api, {IN_USE: 0, QUEUED: 0})
        with locked(migrated_database_url, "post", "ACCESS EXCLUSIVE") as unlock:
            asked = walls(me.id, api, 5, threads, me.headers["authorization"])
            wait_for_waiting(postgres_server, migrated_database_url, POOL)
            come_to(api, {IN_USE: POOL, QUEUED: 5 - POOL})
            began = time.perf_counter()
            come_to(api, {WAITS: before[WAITS], WAITED: before[WAITED]})
            held_s = time.perf_counter() - began
            unlock()
            assert [one.result().status for one in asked] == [200] * 5
        after = come_to(api, {IN_USE: 0, QUEUED: 0, WAITS: before[WAITS] + 5 - POOL})
        assert after[WAITED] - before[WAITED] > held_s * (5 - POOL)


def test_a_killed_process_is_forgotten(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_database_url: str
) -> None:
    """What it was doing is no longer done; what the other one does is counted on."""
    settings = QUIET | {"HLFAST_WORKERS": 2, "HLFAST_DATABASE_POOL_SIZE": 16}
    with (
        Api(migrated_database_url, redis_server.url, **settings) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
        ExitStack() as stack,
    ):
        me = anybody.user()
        stack.enter_context(locked(migrated_database_url, "post", "ACCESS EXCLUSIVE"))
        asked = walls(me.id, api, 16, threads, me.headers["authorization"])
        wait_for_waiting(postgres_server, migrated_database_url, 16)
        come_to(api, {IN_USE: 16})

        def broken() -> int:
            return sum(one.done() for one in asked)

        # How the requests are shared among the two is chance; often one has them all.
        killed = workers(api)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in workers(api), "it is still there")
        wait_until(lambda: len(workers(api)) == 2, "no other process was started")
        wait_until(lambda: in_use(api) == 16 - broken(), "it is not forgotten")


def in_use(api: Api) -> float:
    """Connections to the database; -1 when nobody answered."""
    return come_to(api, {}).get(IN_USE, -1)


def workers(api: Api) -> list[int]:
    """The processes that answer."""
    children = Path(f"/proc/{api.process.pid}/task/{api.process.pid}/children").read_text()
    return [
        int(pid)
        for pid in children.split()
        if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.one_database  # a hash asks nothing of it
def test_passwords_that_wait(redis_server: RedisServer, migrated_database_url: str) -> None:
    slow = {
        "HLFAST_PASSWORD_HASH_THREADS": 1,
        "HLFAST_PASSWORD_HASH_MEMORY_KIB": 65_536,
        "HLFAST_PASSWORD_HASH_TIME": 12,
    }
    with (
        Api(migrated_database_url, redis_server.url, **QUIET, **slow) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
    ):
        come_to(api, {PASSWORDS: 0})
        anybody.timeout = 120
        asked = [threads.submit(anybody.login, f"nobody{n}", PASSWORD) for n in range(3)]
        come_to(api, {PASSWORDS: 2})
        come_to(api, {PASSWORDS: 0})
        assert [one.result().status_code for one in asked] == [401] * 3


def wait_until_published(server: PostgresServer, url: str) -> None:
    """Until the main outbox is empty."""
    query = "SELECT count(*) FROM outbox"
    wait_until(lambda: server.psql(name_of(url), "-c", query) == "0\n", "an event stays in it")


def test_events_on_their_way_and_those_left_behind(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_database_url: str
) -> None:
    with LogRedisServer() as log:
        settings = {
            "EVENTS_URL": log.url,
            "HLFAST_EVENTS_TIMEOUT_S": 20,
            "HLFAST_EVENTS_RETRY_S": 0.1,
            "HLFAST_OUTBOX_SWEEP_S": 0.2,
            "HLFAST_OUTBOX_AGE_S": 30,
        }
        with (
            Api(migrated_database_url, redis_server.url, **settings) as api,
            Client(api.url) as anybody,
        ):
            me = anybody.user()
            me.write()
            wait_until_published(postgres_server, migrated_database_url)
            come_to(api, {UNCONFIRMED: 0, swept("main"): 0})
            families.freeze(log.process)
            for _ in range(3):
                me.write()
            come_to(api, {UNCONFIRMED: 3})
            log.process.send_signal(signal.SIGCONT)
            come_to(api, {UNCONFIRMED: 0, swept("main"): 0, swept("dialogs"): 0})
            sweeps = 'hlfast_outbox_sweeps_total{outbox="main"}'
            wait_until(lambda: scrape(api)[1].get(sweeps, 0) > 0, "nothing is swept")


def test_what_was_left_is_swept(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_database_url: str
) -> None:
    with LogRedisServer() as log:
        settings = {
            "EVENTS_URL": log.url,
            "HLFAST_EVENTS_TIMEOUT_S": 1,
            "HLFAST_EVENTS_RETRY_S": 0.1,
            "HLFAST_OUTBOX_SWEEP_S": 0.2,
            "HLFAST_OUTBOX_AGE_S": 2,
        }
        with (
            Api(migrated_database_url, redis_server.url, **settings) as api,
            Client(api.url) as anybody,
        ):
            me, other = anybody.user(), anybody.user()
            me.write()
            wait_until_published(postgres_server, migrated_database_url)
            log.stop()
            for _ in range(3):
                me.write()
            me.send_to(other)
            # A process that lives on publishes itself what it could not.
            api.kill()
            log.start()
            api.start()
            come_to(api, {swept("main"): 3, swept("dialogs"): 1, UNCONFIRMED: 0})
            me.write()
            come_to(api, {swept("main"): 3, swept("dialogs"): 1, UNCONFIRMED: 0})


def test_files_that_cannot_be_read_cost_their_series_alone(several: Api) -> None:
    """What a crash, a full disk or a cleaner of /tmp leaves."""
    files = Path(tempfile.gettempdir(), f"hlfast-metrics-{several.port}")
    counted = series("users_get", 404)
    wire.get(several.url, b"/api/v1/users/0")
    wait_until(lambda: scrape(several)[1].get(counted), "nothing is counted")
    damaged = {
        "counter_1.db": b"",
        "histogram_3.db": (1000).to_bytes(4, "little") + b"\x7f" * 60,
        "gauge_livesum_none.db": b"\x10\0\0\0" * 4,
        "nonsense.db": b"\x40\0\0\0" + b"\0\0\0\0\x08\0\0\0" + b"{nothing" * 8,
    }
    for name, written in damaged.items():
        (files / name).write_bytes(written)
    # Of a worker that was killed: several may clear it away at once.
    (files / "gauge_livesum_999999999.db").write_bytes(b"\xff")
    with ThreadPoolExecutor() as pool:
        for _, found in pool.map(scrape, [several] * 16):
            assert found["hlfast_metrics_left_out"] == len(damaged)
            assert found[counted]
    assert not (files / "gauge_livesum_999999999.db").exists()
    for name in damaged:
        (files / name).unlink()
    assert scrape(several)[1]["hlfast_metrics_left_out"] == 0
    away = files.rename(files.with_name(f"{files.name}-away"))
    try:
        assert scrape(several)[1] == {"hlfast_metrics_left_out": 1}
    finally:
        away.rename(files)
    assert scrape(several)[1][counted]
