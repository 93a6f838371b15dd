"""More requests than may be in progress: refused at the door, and served again afterwards."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from hl_utils.servers import families
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer, migrate
from tests import wire
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.web.locks import locked, wait_for_waiting
from tests.web.test_metrics import IN_USE, QUEUED, come_to

pytestmark = pytest.mark.one_database

PLACES, POOL = 4, 2
SETTINGS = {
    "HLFAST_REQUESTS_MAX": PLACES,
    "HLFAST_DATABASE_POOL_SIZE": POOL,
    "HLFAST_DATABASE_TIMEOUT_S": 60,
    "HLFAST_OUTBOX_SWEEP_S": 3600,
    "HLFAST_DRAIN_TIMEOUT_S": 1,
    # Each read is a statement.
    "HLFAST_TUNING__BATCH_READS": "false",
}
IN_PROGRESS = "hlfast_requests_in_progress"
REFUSED = "hlfast_requests_refused_total"
DETAIL = "Too many requests are in progress."


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """A whole request on a connection that stays."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: test", f"Authorization: {token}"]
    if data:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def hold(
    threads: ThreadPoolExecutor, api: Api, user_id: int, token: str, count: int = PLACES
) -> list[Future[wire.Answer]]:
    """So many reads of a wall, which come to a locked table."""
    target, header = b"/api/v1/users/%d/posts" % user_id, f"Authorization: {token}".encode()
    return [threads.submit(wire.get, api.url, target, header) for _ in range(count)]


@pytest.fixture(scope="module")
def small(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Api]:
    """An API that takes few requests at once. Few can be refused at once, and few wait for that."""
    settings = SETTINGS | {"HLFAST_REFUSALS_PER_S_MAX": 20, "HLFAST_CONNECTIONS_MAX": 24}
    database = new_database(database_server, TEMPLATE)
    with Api(database, redis_server.url, **settings) as api:
        yield api


def test_one_too_many(small: Api, postgres_server: PostgresServer) -> None:
    database = small.settings["DATABASE_URL"]
    with Client(small.url) as anybody, ThreadPoolExecutor(16) as threads:
        me, other = anybody.user(), anybody.user()
        me.write()
        token = me.headers["authorization"]
        refused = come_to(small, {IN_PROGRESS: 0})[REFUSED]
        with locked(database, "post", "ACCESS EXCLUSIVE") as unlock:
            held = hold(threads, small, me.id, token)
            wait_for_waiting(postgres_server, database, POOL)
            come_to(small, {IN_PROGRESS: PLACES})

            answer = wire.get(small.url, b"/api/v1/feed", b"X-Request-ID: mine")
            assert answer.status == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-request-id"] == "mine"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json == {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": DETAIL,
                "instance": "/api/v1/feed",
                "request_id": "mine",
            }
            odd = wire.get(small.url, b'/api/v1/"%22%ff%s\\')
            assert (odd.status, odd.json["detail"]) == (503, DETAIL)
            assert odd.json["request_id"] == odd.headers["x-request-id"]

            # Nothing is done for it, and the connection can be used on.
            message = request("POST", f"/dialogs/{other.id}/messages", token, {"content": "x"})
            refused_on_one_connection(small, [message, message])
            # Of a body that may not have been read the rest would be taken for a request.
            long = wire.ask(small.url, request("POST", "/posts", token, {"content": "x" * 2000}))
            assert (long.status, long.headers["connection"]) == (503, "close")

            # This one needs no connection of the pool, which the held ones have.
            assert wire.get(small.url, b"/health/live").status == 200
            come_to(small, {REFUSED: refused + 5, IN_PROGRESS: PLACES})
            unlock()
            assert [one.result().status for one in held] == [200] * PLACES
        come_to(small, {REFUSED: refused + 5, IN_PROGRESS: 0})
        assert me.get("/dialogs").json()["items"] == []
        assert len(me.items(f"/users/{me.id}/posts")) == 1
        assert other.items(f"/dialogs/{me.id}/messages") == []
        assert me.send_to(other)["id"] == 1


def test_one_user_leaves_some_for_others(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_database_url: str
) -> None:
    settings = SETTINGS | {"HLFAST_REQUESTS_MAX": 100, "HLFAST_USER_REQUESTS_MAX": PLACES}
    with (
        Api(migrated_database_url, redis_server.url, **settings) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
    ):
        me, other = anybody.user(), anybody.user()
        me.write()
        with locked(migrated_database_url, "post", "ACCESS EXCLUSIVE") as unlock:
            held = hold(threads, api, me.id, me.headers["authorization"])
            wait_for_waiting(postgres_server, migrated_database_url, POOL)
            come_to(api, {IN_PROGRESS: PLACES})
            # Whatever it is, and nothing of it is done.
            for answer in (me.get("/users/me"), me.put(f"/friends/{other.id}")):
                assert answer.status_code == 429
                assert answer.json()["detail"] == f"You have {PLACES} requests under way."
                assert answer.headers["retry-after"] == "1"
            # Others have their own.
            held += hold(threads, api, me.id, other.headers["authorization"], 1)
            come_to(api, {IN_PROGRESS: PLACES + 1})
            unlock()
            assert [one.result().status for one in held] == [200] * (PLACES + 1)
        # A failure ends a request in progress, too.
        for _ in range(2 * PLACES):
            assert me.get("/posts/1000000").status_code == 404
            assert me.post("/posts", json={}).status_code == 422
        assert other.items("/friends/requests") == []


def refused_on_one_connection(api: Api, requests: list[bytes]) -> None:
    """Each with a 503, one after the other."""
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        for one in requests:
            connection.sendall(one)
            received = b""
            while DETAIL.encode() not in received:
                data = connection.recv(65536)
                assert data, received
                received += data
            assert received.startswith(b"HTTP/1.1 503 ")


def test_slow_senders_are_not_in_progress(small: Api) -> None:
    with Client(small.url) as anybody:
        me = anybody.user()
        # Known from here on, so that the next ones come to their bodies at once.
        assert me.write()["content"]
        address = urlsplit(small.url)
        whole = request("POST", "/posts", me.headers["authorization"], {"content": "at last"})
        slow = [
            socket.create_connection((address.hostname, address.port), timeout=30)
            for _ in range(3 * PLACES)
        ]
        for one in slow:
            one.sendall(whole[:-5])
        refused = come_to(small, {IN_PROGRESS: 0})[REFUSED]
        assert me.write()["content"]
        for one in slow:
            one.sendall(whole[-5:])
            assert one.recv(65536).startswith(b"HTTP/1.1 201 ")
            one.close()
        come_to(small, {IN_PROGRESS: 0, REFUSED: refused})


def test_all_refusals_are_sent_when_they_have_to_wait(
    small: Api, postgres_server: PostgresServer
) -> None:
    """Also those beyond what may wait. Who left may still be refused later, so this is the last."""
    database = small.settings["DATABASE_URL"]
    with Client(small.url) as anybody, ThreadPoolExecutor(16) as threads:
        me = anybody.user()
        me.write()
        with locked(database, "post", "ACCESS EXCLUSIVE") as unlock:
            held = hold(threads, small, me.id, me.headers["authorization"])
            wait_for_waiting(postgres_server, database, POOL)
            come_to(small, {IN_PROGRESS: PLACES})
            for _ in range(4):
                asked = [threads.submit(wire.get, small.url, b"/api/v1/feed") for _ in range(12)]
                # Some who do not wait for theirs.
                for _ in range(10):
                    wire.leave(small.url, b"GET /api/v1/feed HTTP/1.1\r\nHost: test\r\n\r\n")
                assert [one.result().status for one in asked] == [503] * 12
            unlock()
            assert [one.result().status for one in held] == [200] * PLACES
        assert len(me.items(f"/users/{me.id}/posts")) == 1


def test_a_silent_database(redis_server: RedisServer) -> None:
    """It stops answering for longer than a statement may take, under more than can be held."""
    settings = SETTINGS | {"HLFAST_DATABASE_TIMEOUT_S": 1}
    with (
        PostgresServer() as database,
        Api(migrate(database, TEMPLATE), redis_server.url, **settings) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
    ):
        me, other = anybody.user(), anybody.user()
        me.send_to(other)
        path = f"/dialogs/{other.id}/messages"
        token = me.headers["authorization"]
        contents = [{"content": "x", "client_id": f"{n}"} for n in range(40)]
        sends = [request("POST", path, token, content) for content in contents]
        families.signal_all(database, signal.SIGSTOP)
        try:
            asked = [threads.submit(wire.ask, api.url, one) for one in sends]
            answers = [one.result() for one in asked]
            assert {one.status for one in answers} == {503}
            assert {one.headers["retry-after"] for one in answers} == {"1"}
            details = {one.json["detail"] for one in answers}
            # Some were refused at the door, the others waited until their time was up.
            assert DETAIL in details
            assert len(details) > 1
            assert wire.get(api.url, b"/health/live").status == 200
            assert wire.get(api.url, b"/health/ready").status == 503
        finally:
            families.signal_all(database, signal.SIGCONT)
        wait_until(
            lambda: wire.get(api.url, b"/health/ready").status == 200, "it is not ready again"
        )
        shed = {f"{n}" for n, one in enumerate(answers) if one.json["detail"] == DETAIL}
        shown = me.items(path, limit=100)
        assert not shed & {one["client_id"] for one in shown}
        # The pool is whole: it works on everything at once, and has nothing left to do.
        with locked(database.url(TEMPLATE), "post", "ACCESS EXCLUSIVE") as unlock:
            held = hold(threads, api, me.id, token, POOL)
            wait_for_waiting(database, database.url(TEMPLATE), POOL)
            unlock()
            assert [one.result().status for one in held] == [200] * POOL
        come_to(api, {IN_USE: 0, QUEUED: 0, IN_PROGRESS: 0})
        sent = [wire.ask(api.url, one) for one in sends]
        assert {one.status for one in sent} <= {200, 201}
        messages = me.items(path, limit=100)
        assert sorted(one["id"] for one in messages) == list(range(1, 42))
