"""An API that is told to stop finishes what it has begun."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException

import pytest

from hl_utils.servers import families
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT, START_S, wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests import wire
from tests.clients import PASSWORD, Client
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database
from tests.web.locks import locked, name_of, wait_for_waiting

WORDS = ["one", "three", "two"]
NEWCOMER = {"password": PASSWORD, "first_name": "New", "last_name": "Comer"}


def post(url: str, path: str, body: object, authorization: str = "") -> wire.Answer:
    """The answer to a POST of JSON."""
    data = json.dumps(body).encode()
    lines = [
        f"POST /api/v1{path} HTTP/1.1\r\nHost: test\r\nConnection: close",
        f"Content-Type: application/json\r\nContent-Length: {len(data)}",
        *([f"Authorization: {authorization}"] if authorization else []),
        "\r\n",
    ]
    return wire.ask(url, "\r\n".join(lines).encode() + data, method="POST")


@contextmanager
def idle_connection(api: Api) -> Iterator[socket.socket]:
    """One that has had an answer, and would be kept."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as kept:
        kept.sendall(b"GET /health/ready HTTP/1.1\r\nHost: test\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        yield kept


class Starting(Api):
    """One whose block begins as soon as its process exists, which is a new interpreter."""

    popen = subprocess.Popen

    def start(self) -> None:
        self.launch()


def is_refused(api: Api) -> bool:
    """Whether a new connection is."""
    try:
        with socket.create_connection(("127.0.0.1", api.port), timeout=1):
            return False
    except ConnectionRefusedError:
        return True


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_under_way_are_answered(
    postgres_server: PostgresServer, redis_server: RedisServer, workers: int
) -> None:
    """Meanwhile nobody new is let in: no readiness can be read, which is how a proxy sees it.

    (Granian closes what it listens on, and idle connections, as soon as it is told to stop.)
    """
    database = new_database(postgres_server, TEMPLATE)
    settings = {
        **MANY_CONNECTIONS,
        "HLFAST_WORKERS": workers,
        "HLFAST_DRAIN_TIMEOUT_S": 60,
        # Else a statement that waits longer for the lock is given up, and answered.
        "HLFAST_DATABASE_TIMEOUT_S": 60,
    }
    with (
        Api(database, redis_server.url, **settings) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor(16) as threads,
    ):
        # Of one author an event might wait for that of another process, and stay for the sweep.
        authors = [anybody.user().headers["authorization"] for _ in WORDS]
        with locked(database, 'post, "user"') as unlock, idle_connection(api) as kept:
            asked = [
                threads.submit(post, api.url, "/posts", {"content": word}, author)
                for word, author in zip(WORDS, authors, strict=True)
            ] + [
                threads.submit(post, api.url, "/users", {**NEWCOMER, "username": word})
                for word in WORDS
            ]
            wait_for_waiting(postgres_server, database, len(asked))
            api.process.terminate()
            wait_until(lambda: is_refused(api), "new connections are taken")
            assert kept.recv(1) == b""
            assert not any(future.done() for future in asked)
            unlock()
            assert [future.result(START_S).status for future in asked] == [201] * len(asked)
        assert api.process.wait(START_S) == 0
        assert "Traceback" not in api.log
        written = postgres_server.psql(name_of(database), "-c", "SELECT content FROM post")
        assert sorted(written.split()) == WORDS
        # Those events are told of, too.
        assert postgres_server.psql(name_of(database), "-c", "SELECT id FROM outbox") == ""


# What Granian's main process does: its main thread waits, another one watches a worker.
WAITS = """
import os, signal, threading
from hlfast.web.draining import Awaited

ends = Awaited()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: ends.set())
worker = os.fork()
if worker == 0:
    signal.pause()
threading.Thread(target=os.waitpid, args=(worker, 0), daemon=True).start()
print("waits", flush=True)
ends.wait()
os.kill(worker, signal.SIGKILL)
os._exit(0)
"""


def test_no_signal_is_overlooked() -> None:
    """Whichever thread it interrupts: of two signals threading.Event overlooks one in four."""
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
        ) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == b"waits\n"
            os.kill(waiting.pid, signal.SIGINT)
            os.kill(waiting.pid, signal.SIGTERM)
            try:
                assert waiting.wait(START_S) == 0
            finally:
                if waiting.poll() is None:
                    os.killpg(waiting.pid, signal.SIGKILL)


# A trace function runs where the handler of a signal may: between any two steps.
INTERRUPTED = """
import sys
from hlfast.web.draining import Awaited

ends = Awaited()

def interrupt(frame, *_):
    frame.f_trace_opcodes = True
    ends.set()
    return interrupt

sys.settrace(interrupt)
ends.set()
ends.wait()
"""


def test_a_signal_may_come_at_any_step() -> None:
    """Its handler waits for no lock that the thread holds which it interrupts."""
    subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, check=True, timeout=START_S)


@pytest.mark.parametrize("workers", [1, 2])
def test_load_balancers_are_told_before_the_door_closes(
    postgres_server: PostgresServer, redis_server: RedisServer, workers: int
) -> None:
    database = new_database(postgres_server, TEMPLATE)
    settings = {"HLFAST_WORKERS": workers, "HLFAST_DRAIN_NOTICE_S": 2 * START_S}
    with Api(database, redis_server.url, **settings) as api:
        api.process.terminate()
        for _ in range(8):  # connections, of which each worker takes some
            with Client(api.url) as client:
                health = f"{api.url}/health"
                wait_until(lambda: client.get(f"{health}/ready").status_code == 503, "not told")  # noqa: B023
                assert client.get(f"{health}/ready").json() == {"status": "draining"}
                assert client.get(f"{health}/live").status_code == 200
                assert client.user().get("/users/me").status_code == 200
        # A second time is meant.
        api.process.terminate()
        assert api.process.wait(START_S) == 0
        assert "Traceback" not in api.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_starting_is_told_too(
    postgres_server: PostgresServer, redis_server: RedisServer, workers: int
) -> None:
    """The moment at which a worker can be told is no other than that of its birth."""
    database = new_database(postgres_server, TEMPLATE)
    # Whoever was not told would be killed after more time than there is here.
    settings = {"HLFAST_WORKERS": workers, "HLFAST_DRAIN_TIMEOUT_S": int(2 * START_S)}
    with Starting(database, redis_server.url, **settings) as api:
        wait_until(lambda: len(families.family(api.process.pid)) > workers, "no worker started")
        api.process.terminate()
        assert api.process.wait(START_S) == 0
        assert "Traceback" not in api.log


def test_a_request_that_does_not_end_holds_up_nobody(
    postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    database = new_database(postgres_server, TEMPLATE)
    with (
        Api(database, redis_server.url, HLFAST_DRAIN_TIMEOUT_S=1) as api,
        Client(api.url) as anybody,
        ThreadPoolExecutor() as threads,
    ):
        author = anybody.user()
        with locked(database, "post"):
            answer: Future[wire.Answer] = threads.submit(
                post, api.url, "/posts", {"content": "x"}, author.headers["authorization"]
            )
            wait_for_waiting(postgres_server, database, 1)
            api.process.terminate()
            api.process.wait(START_S)
            with pytest.raises((OSError, HTTPException)):
                answer.result(START_S)
