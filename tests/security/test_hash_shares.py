"""Whoever keeps the threads busy that hash passwords keeps nobody else from their own."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests.clients import PASSWORD, Client
from tests.http import Response

pytestmark = pytest.mark.one_database
ATTACKER, OTHER = "192.0.2.1", "192.0.2.2"
# Of those that may wait, the attacker sends several times as many at once.
QUEUE, AT_ONCE = 8, 32
_names = itertools.count()


@pytest.fixture
def api(migrated_database_url: str, redis_server: RedisServer) -> Iterator[Api]:
    """One thread, and hashes that take their time."""
    settings = {
        "HLFAST_TRUSTED_PROXIES": "127.0.0.1",
        "HLFAST_PASSWORD_HASH_THREADS": 1,
        "HLFAST_PASSWORD_HASH_QUEUE_MAX": QUEUE,
        "HLFAST_PASSWORD_HASH_MEMORY_KIB": 8192,
        "HLFAST_PASSWORD_HASH_TIME": 2,
    }
    with Api(migrated_database_url, redis_server.url, **settings) as api:
        yield api


def guess(client: Client) -> Response:
    """A login under a name that was never tried before: no throttle knows it."""
    return client.login(f"nobody-{next(_names)}", **{"X-Forwarded-For": ATTACKER})


def register(client: Client) -> Response:
    """The answer to the registration of another account."""
    new = {"username": f"many-{next(_names)}", "password": PASSWORD}
    new |= {"first_name": "A", "last_name": "B"}
    return client.post("/users", json=new, headers={"X-Forwarded-For": ATTACKER})


@contextmanager
def flood(client: Client, ask: Callable[[Client], Response]) -> Iterator[Counter[int]]:
    """One address asks again and again; how often it was answered how, while it goes on."""
    statuses: Counter[int] = Counter()
    ends = Event()

    def go_on() -> None:
        while not ends.is_set():
            statuses[ask(client).status_code] += 1

    with ThreadPoolExecutor(AT_ONCE) as threads:
        asking = [threads.submit(go_on) for _ in range(AT_ONCE)]
        try:
            yield statuses
        finally:
            ends.set()
        for one in asking:
            one.result()


@pytest.mark.parametrize("ask", [guess, register])
def test_a_flood_of_one_address_delays_nobody_else(
    api: Api, ask: Callable[[Client], Response]
) -> None:
    with Client(api.url) as client:
        me = client.user()
        with flood(client, ask) as statuses:
            # The queue is full of the attacker's, who is refused already.
            wait_until(lambda: statuses[503] > AT_ONCE, "nobody is refused")
            logins = [
                client.login(me.username, **{"X-Forwarded-For": OTHER}).status_code
                for _ in range(10)
            ]
            changed = me.post(
                "/users/me/password",
                json={"old_password": PASSWORD, "new_password": PASSWORD},
                headers={"X-Forwarded-For": OTHER},
            )
        assert logins == [200] * 10
        assert changed.status_code == 204
        assert statuses.keys() <= {201, 401, 503}, statuses
