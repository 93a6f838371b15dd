"""APIs are stopped and started one after the other under load, and nobody notices."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import START_S, wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

CLIENTS = 8
POST = {"content": "A post"}


@pytest.fixture
def apis(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[list[Api]]:
    """Two, which give notice for longer than this test waits for it to be heard."""
    servers = new_database(postgres_server, TEMPLATE), redis_server.url
    notice = {"HLFAST_TRUSTED_PROXIES": "127.0.0.1", "HLFAST_DRAIN_NOTICE_S": 4 * START_S}
    with ExitStack() as stack:
        found = [stack.enter_context(Api(*servers, **notice)) for _ in range(2)]
        yield found
        for api in found:
            api.process.send_signal(signal.SIGINT)  # without notice


@contextmanager
def used(url: str) -> Iterator[list[int]]:
    """Read and written through the door all the time: the statuses, of which a lost one is 0."""
    statuses: list[int] = []
    ends = threading.Event()

    def go_on() -> None:
        with Client(url) as anybody:
            me = anybody.user()
            while not ends.is_set():
                for ask in (lambda: me.get("/users/me"), lambda: me.post("/posts", json=POST)):
                    try:
                        statuses.append(ask().status_code)
                    except OSError:
                        statuses.append(0)

    with ThreadPoolExecutor(CLIENTS) as threads:
        using = [threads.submit(go_on) for _ in range(CLIENTS)]
        try:
            yield statuses
        finally:
            ends.set()
        for one in using:
            one.result()


def test_a_rolling_restart_fails_no_request(apis: list[Api]) -> None:
    with Proxy([api.port for api in apis], []) as proxy:
        wait_until(lambda: is_up(proxy, 1) and is_up(proxy, 2), "not up")
        with used(proxy.url) as statuses:

            def more() -> None:
                enough = len(statuses) + 200
                wait_until(lambda: len(statuses) >= enough, "nothing is answered")

            for number, api in enumerate(apis, 1):
                more()
                api.process.terminate()
                wait_until(lambda: not is_up(proxy, number), "HAProxy has not noticed")  # noqa: B023
                # It still serves; nobody comes any more.
                assert api.process.poll() is None
                more()
                api.process.terminate()
                assert api.process.wait(START_S) == 0
                more()
                api.start()
                wait_until(lambda: is_up(proxy, number), "not up again")  # noqa: B023
        assert set(statuses) == {200, 201}


def is_up(proxy: Proxy, number: int) -> bool:
    """Whether HAProxy sends requests to one of the servers."""
    return proxy.statistics()[f"api/api{number}"]["status"].startswith("UP")
