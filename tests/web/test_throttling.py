"""429 for a name from an address after repeated failures, and for nobody else."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer
from tests.clients import PASSWORD, Client
from tests.conftest import TEMPLATE, new_database
from tests.http import Response

pytestmark = pytest.mark.one_database

FAILURES_MAX = 3
WRONG = "not this one"


@pytest.fixture(scope="module")
def strict(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Api]:
    """An API that believes in X-Forwarded-For from here."""
    settings = {
        "HLFAST_LOGIN_FAILURES_MAX": FAILURES_MAX,
        "HLFAST_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.0/8",
        # Where Redis is late, on a busy machine, a process goes on counting from nothing.
        "HLFAST_REDIS_TIMEOUT_S": 20,
        "HLFAST_DRAIN_TIMEOUT_S": 1,
    }
    database = new_database(database_server, TEMPLATE)
    with Api(database, redis_server.url, **settings) as api:
        yield api


@pytest.fixture
def client(strict: Api) -> Iterator[Client]:
    """A client of the API with the throttle."""
    with Client(strict.url) as client:
        yield client


def login(client: Client, name: str, address: str, password: str = WRONG) -> Response:
    """The answer to a login from an address."""
    return client.login(name, password, **{"X-Forwarded-For": address})


def fail(client: Client, name: str, address: str) -> None:
    """As often as it is allowed, and the next time is refused."""
    for _ in range(FAILURES_MAX):
        assert login(client, name, address).status_code == 401
    refused = login(client, name, address)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 300


def test_a_refusal_is_a_line_of_the_log(strict: Api, client: Client) -> None:
    """One, with the address: not with the name, where some people type their password."""
    me = client.user()
    began = time.monotonic()
    for _ in range(2):
        fail_or_be_refused = [login(client, me.username, "192.0.2.77") for _ in range(5)]
        assert fail_or_be_refused[-1].status_code == 429
    lines = [line for line in strict.log.splitlines() if "192.0.2.77" in line]
    assert len(lines) == 1
    refused = re.search(
        rf"\[WARNING\] Refused for (\d+) s after {FAILURES_MAX} failures of one name", lines[0]
    )
    assert refused is not None
    # What is left of 300 since the first failure, in whole seconds.
    assert 299 - (time.monotonic() - began) <= int(refused[1]) <= 300
    assert me.username not in strict.log


def test_the_name_is_refused_from_that_address(client: Client) -> None:
    me = client.user()
    fail(client, me.username, "192.0.2.1")
    # Also with the right password: or the guesses went on. In whatever case the name is.
    assert client.login(me.username, **{"X-Forwarded-For": "192.0.2.1"}).status_code == 429
    assert login(client, me.username.upper(), "192.0.2.1").status_code == 429


def test_nobody_locks_out_another(client: Client) -> None:
    me = client.user()
    fail(client, me.username, "192.0.2.2")
    for address in ("192.0.2.3", "2001:db8::1"):
        answer = client.login(me.username, **{"X-Forwarded-For": address})
        assert answer.status_code == 200
    assert me.get("/users/me").status_code == 200


def test_other_names_from_that_address(client: Client) -> None:
    me, other = client.user(), client.user()
    fail(client, me.username, "192.0.2.4")
    answer = client.login(other.username, **{"X-Forwarded-For": "192.0.2.4"})
    assert answer.status_code == 200


def test_unknown_names_are_counted_alike(client: Client) -> None:
    fail(client, "there-is-nobody", "192.0.2.5")


def test_a_success_starts_anew(client: Client) -> None:
    me = client.user()
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            assert login(client, me.username, "192.0.2.6").status_code == 401
        answer = client.login(me.username, **{"X-Forwarded-For": "192.0.2.6"})
        assert answer.status_code == 200


def test_a_client_cannot_hide_behind_made_up_addresses(client: Client) -> None:
    """Only the hop that the trusted proxies saw counts: the last one that is none of them."""
    me = client.user()
    for number in range(FAILURES_MAX):
        spoofed = f"198.51.100.{number}, 192.0.2.7"
        assert login(client, me.username, spoofed).status_code == 401
    assert login(client, me.username, "192.0.2.7").status_code == 429
    assert login(client, me.username, "203.0.113.1,192.0.2.7, 10.0.0.1").status_code == 429
    assert login(client, me.username, "192.0.2.7, 203.0.113.1").status_code == 401


@pytest.mark.parametrize(
    "forms",
    [
        [f"203.0.113.7:{port}" for port in range(40001, 40005)],
        ["203.0.113.8", "::ffff:203.0.113.8", "[::ffff:cb00:7108]:1", "203.0.113.8:5, 10.9.8.7:6"],
        # Whoever has one address of such a network has all of them.
        [f"2001:db8::{number}" for number in range(1, 5)],
        ["2001:db8:0:1::1", "2001:DB8:0:1:0::1", "[2001:db8:0:1::2]:443", "2001:db8:0:1::3%eth0"],
        # What is no address is not one of many: it counts for the proxy that wrote it.
        ["unknown", "_a", "_b", "203.0.113.9, 999.1.1.1"],
    ],
)
def test_one_address_in_many_forms(client: Client, forms: list[str]) -> None:
    me = client.user()
    statuses = [login(client, me.username, form).status_code for form in forms]
    assert statuses == [401] * FAILURES_MAX + [429]
    assert client.login(me.username, **{"X-Forwarded-For": "203.0.113.99"}).status_code == 200


def test_without_trusted_proxies_the_header_is_nobodys_word(api: Api) -> None:
    with Client(api.url) as client:
        me = client.user()
        statuses = [
            login(client, me.username, f"192.0.2.{number}").status_code for number in range(11)
        ]
        assert statuses == [401] * 10 + [429]


def test_refreshing_is_not_refused(client: Client) -> None:
    me = client.user()
    header = {"X-Forwarded-For": "192.0.2.8"}
    token = client.login(me.username, **header).json()["refresh_token"]
    fail(client, me.username, "192.0.2.8")
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert client.post("/login", data=form, headers=header).status_code == 200


def together(client: Client, count: int, name: str, address: str, password: str) -> Counter[int]:
    """The statuses of logins that are sent at once."""
    form = {"username": name, "password": password}

    async def run() -> Counter[int]:
        headers = {"X-Forwarded-For": address}
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as crowd:
            url = f"{client.root}/api/v1/login"
            answers = await asyncio.gather(*(crowd.post(url, data=form) for _ in range(count)))
        return Counter(answer.status_code for answer in answers)

    return asyncio.run(run())


def test_a_burst_gets_no_more_guesses(client: Client) -> None:
    me = client.user()
    counted = together(client, 60, me.username, "192.0.2.9", WRONG)
    assert counted == {401: FAILURES_MAX, 429: 60 - FAILURES_MAX}
    assert together(client, 20, me.username, "192.0.2.9", PASSWORD) == {429: 20}


def test_right_passwords_at_once_are_no_guesses(client: Client) -> None:
    me = client.user()
    assert together(client, 20, me.username, "192.0.2.10", PASSWORD) == {200: 20}


def change(me: Client, old: str, address: str) -> Response:
    """The answer to a change of the password to the same."""
    fields = {"old_password": old, "new_password": PASSWORD}
    return me.post("/users/me/password", json=fields, headers={"X-Forwarded-For": address})


def test_old_passwords_are_not_guessed_either(client: Client) -> None:
    me = client.user()
    for _ in range(2):
        for _ in range(FAILURES_MAX - 1):
            assert change(me, WRONG, "192.0.2.11").status_code == 403
        assert change(me, PASSWORD, "192.0.2.11").status_code == 204
        me.headers["authorization"] = f"Bearer {client.token(me.username)}"
    for _ in range(FAILURES_MAX):
        assert change(me, WRONG, "192.0.2.11").status_code == 403
    for password in (WRONG, PASSWORD):
        refused = change(me, password, "192.0.2.11")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 300
    # Neither their logins, nor whoever has the token elsewhere, nor anybody else here.
    assert client.login(me.username, **{"X-Forwarded-For": "192.0.2.11"}).status_code == 200
    assert change(client.user(), PASSWORD, "192.0.2.11").status_code == 204
    assert change(me, PASSWORD, "192.0.2.12").status_code == 204


def test_it_ends(migrated_database_url: str, redis_server: RedisServer) -> None:
    settings = {
        "HLFAST_LOGIN_FAILURES_MAX": FAILURES_MAX,
        "HLFAST_LOGIN_WINDOW_S": 1,
        "HLFAST_DRAIN_TIMEOUT_S": 1,
    }
    with Api(migrated_database_url, redis_server.url, **settings) as api, Client(api.url) as client:
        me = client.user()
        wait_until(lambda: client.login(me.username, WRONG).status_code == 429, "never refused")
        wait_until(lambda: client.login(me.username).status_code == 200, "refused for ever")
