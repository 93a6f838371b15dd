"""What goes through the front door, what does not, and what it tells and keeps to itself."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from hl_utils.servers.haproxy import CONFIGURATION, PROGRAM, UNLIMITED, Proxy
from hl_utils.servers.process import START_S, free_port, wait_until
from tests.clients import Client
from tests.haproxy.conftest import LOGIN_FAILURES, House
from tests.http import get
from tests.nodes import PATH, Socket, Stream

# None of the test's own servers trusts or knows it, and the kernel gives it to whoever asks.
ANOTHER_ADDRESS = "127.0.0.2"


def ask(
    port: int, method: str, target: str, address: str = "", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """A request as it is written, from an address of this machine."""
    source = (address, 0) if address else None
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S, source_address=source)
    try:
        line.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name.replace("_", "-"), value)
        line.endheaders()
        answer = line.getresponse()
        return answer.status, answer.msg, answer.read()
    finally:
        line.close()


def test_event_streams_are_at_the_same_address(house: House) -> None:
    """Event by event as they come, resumed at the node, with its refusals and its comments."""
    with Client(house.proxy.url) as anybody:
        ada, bob = anybody.user(), anybody.user()
        given = {"Authorization": ada.headers["authorization"]}
        with Stream(house.proxy.port, **given) as stream:
            cursor = stream.greeted()["cursor"]
            sent = [bob.send_to(ada, f"Number {number}") for number in range(3)]
            assert [stream.next()["message"] for _ in sent] == sent
        with Stream(house.node.port, **given, Last_Event_ID=cursor) as again:
            again.greeted()
            recovered, replayed = again.resumed()
            assert (recovered, [frame["message"] for frame in replayed]) == (True, sent)
        for port in (house.node.port, house.proxy.port):
            with Stream(port) as none, Stream(port, f"{PATH}?x=1", **given) as unknown:
                assert (none.status, unknown.status) == (401, 422)
                assert none.problem["request_id"] == none.headers["x-request-id"]


@pytest.mark.parametrize("compose", [False, True])
@pytest.mark.parametrize("limits", [{}, UNLIMITED])
def test_haproxy_accepts_the_file(compose: bool, limits: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], **limits} | (
        {"HLFAST_COMPOSE": "1"} if compose else {}
    )
    done = subprocess.run(
        [PROGRAM, "-c", "-f", CONFIGURATION],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


def test_a_server_of_the_other_kind_is_none(house: House) -> None:
    """A container may get the address that one of the other kind had."""
    ports = [house.api.port, house.node.port]
    wanted = {"api/api1": "UP", "api/api2": "DOWN", "websocket/ws1": "DOWN", "websocket/ws2": "UP"}
    with Proxy(ports, ports) as proxy:

        def are_distinguished() -> bool:
            rows = proxy.statistics()
            return {name: rows[name]["status"] for name in wanted} == wanted

        wait_until(are_distinguished, "they are taken for each other")


def test_the_api_and_the_websocket_are_at_one_address(house: House) -> None:
    with Client(house.proxy.url) as anybody:
        ada, bob = anybody.user(), anybody.user()
        ada.put(f"/friends/{bob.id}")
        bob.put(f"/friends/{ada.id}")
        token = ada.headers["authorization"].removeprefix("Bearer ")
        with Socket(house.proxy.ws_url, token) as live:
            created = bob.post("/posts", json={"content": "Hello"})
            assert created.status_code == 201
            live.until(lambda frame: frame.get("post") == created.json())
    assert get(f"{house.proxy.url}/docs").status_code == 200
    assert get(f"{house.proxy.url}/health/ready").json() == {"status": "ok"}
    assert "text/html" in get(house.proxy.url).headers["content-type"]
    links = get(house.proxy.url, headers={"Accept": "application/json"}).json()
    assert f"{house.proxy.url.replace('http', 'ws')}{links['websocket']}" == house.proxy.ws_url
    refused = get(f"{house.proxy.url}/ws")
    assert refused.status_code == 426


# What the API itself answers.
OPEN_WITHIN = ("/metrics", "/health/dependencies", "/%6detrics", "/health%2Fdependencies")


@pytest.mark.parametrize("target", OPEN_WITHIN)
def test_the_api_itself_answers(house: House, target: str) -> None:
    assert ask(house.api.port, "GET", target)[0] == 200


@pytest.mark.parametrize(
    "target",
    [
        *OPEN_WITHIN,
        "/metrics?x=1",
        "/metrics/",
        "//metrics",
        "///metrics//",
        "/METRICS",
        "/%2Fmetrics",
        "/%6D%65trics",
        "/health//dependencies",
        "/health/dependencies/",
        "/Health/%64ependencies",
        "http://127.0.0.1/metrics",
        "http://elsewhere/health/dependencies",
        "/./metrics",
        "/x/../metrics",
        "/%256detrics",
        "/metrics%00",
        "/metrics;x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_is_for_those_within_is_not_found(house: House, target: str, method: str) -> None:
    status, headers, body = ask(house.proxy.port, method, target)
    assert status == 404
    assert headers["content-type"] == "application/problem+json"
    assert b"hlfast_requests" not in body


def test_an_error_of_the_door_looks_like_the_apis(house: House) -> None:
    status, headers, body = ask(house.proxy.port, "GET", '/metrics/"\\', X_Request_ID="mine-1")
    assert status == 404
    by_api = json.loads(ask(house.proxy.port, "GET", "/nothing")[2])
    problem = json.loads(ask(house.proxy.port, "GET", "/metrics", X_Request_ID="mine-1")[2])
    assert problem.keys() == by_api.keys()
    assert problem == by_api | {"instance": "/metrics", "request_id": "mine-1"}
    assert headers["x-request-id"] == json.loads(body)["request_id"] == "mine-1"


def test_an_insane_request_id_is_replaced(house: House) -> None:
    ids = {
        ask(house.proxy.port, "GET", path, X_Request_ID="a b")[1]["x-request-id"]
        for path in ("/metrics", "/health/live")
    }
    assert len(ids) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", one) for one in ids)


def test_nobody_has_another_address_than_their_own(house: House) -> None:
    form = "username=nobody-at-all&password=wrong-password"

    def log_in(claim: str, address: str = "127.0.0.1") -> int:
        line = http.client.HTTPConnection(
            "127.0.0.1", house.proxy.port, timeout=START_S, source_address=(address, 0)
        )
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Forwarded-For": claim,
            "Connection": "X-Forwarded-For",
        }
        line.request("POST", "/api/v1/login", form, headers)
        status = line.getresponse().status
        line.close()
        return status

    claims = [f"198.51.100.{number}" for number in range(LOGIN_FAILURES + 1)]
    answers = [log_in(claim) for claim in claims]
    assert answers == [401] * LOGIN_FAILURES + [429]
    # Who comes from somewhere else is not known by a claim, but by where they come from.
    assert log_in("127.0.0.1", ANOTHER_ADDRESS) == 401


def test_the_log_has_no_query_string(house: House) -> None:
    with Client(house.proxy.url) as anybody:
        user = anybody.user()
    token = user.headers["authorization"].removeprefix("Bearer ")
    with Socket(house.proxy.ws_url, token):
        pass
    for target in ("/api/v1/users/search?first_name=Secretive", "/metrics?token=Secretive"):
        ask(house.proxy.port, "GET", target, X_Request_ID="logged-1")
    log = wait_until(
        lambda: house.proxy.log.count(" logged-1\n") == 2 and house.proxy.log, "no lines"
    )
    assert " GET /ws " in log
    assert " GET /api/v1/users/search logged-1\n" in log
    assert "Secretive" not in log
    assert token not in log


def test_requests_of_one_address_are_limited(house: House) -> None:
    most = 20
    with Proxy(
        [house.api.port], [house.node.port], {"HLFAST_ADDRESS_REQUESTS_MAX": str(most)}
    ) as proxy:
        proxy.wait_until_up()
        answers = [ask(proxy.port, "GET", "/health/live") for _ in range(most + 5)]
        assert [status for status, _, _ in answers] == [200] * most + [429] * 5
        _, headers, body = answers[-1]
        assert headers["retry-after"] == "10"
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == 429
        assert ask(proxy.port, "GET", "/health/live", ANOTHER_ADDRESS)[0] == 200
    # With 0 there is no limit.
    for _ in range(most + 5):
        assert ask(house.proxy.port, "GET", "/health/live")[0] == 200


def test_connections_of_one_address_are_limited(house: House) -> None:
    most = 5
    settings = {"HLFAST_ADDRESS_CONNECTIONS_MAX": str(most)}
    with (
        Proxy([house.api.port], [house.node.port], settings) as proxy,
        ExitStack() as stack,
    ):
        proxy.wait_until_up()

        def connect(address: str = "127.0.0.1") -> bytes:
            try:
                line = socket.create_connection(
                    ("127.0.0.1", proxy.port), START_S, source_address=(address, 0)
                )
                stack.callback(line.close)
                line.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                return line.recv(12)
            except ConnectionError:
                return b""

        assert [connect() for _ in range(most + 2)] == [b"HTTP/1.1 200"] * most + [b""] * 2
        assert connect(ANOTHER_ADDRESS) == b"HTTP/1.1 200"


def test_without_a_server_there_is_a_503(house: House) -> None:
    with Proxy([free_port()], [house.node.port]) as proxy:
        status, headers, body = ask(proxy.port, "GET", "/api/v1/feed")
        assert (status, headers["retry-after"]) == (503, "1")
        problem = json.loads(body)
        assert (problem["status"], problem["instance"]) == (503, "/api/v1/feed")


@contextmanager
def breaking_off() -> Iterator[tuple[int, list[bytes]]]:
    """A server that is ready, and hangs up on everything else once it has read it."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                with line:
                    head = line.recv(65536)
                    if head.startswith(b"GET /health/ready"):
                        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    elif head:
                        requests.append(head)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1]), requests
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(START_S)


def test_what_may_have_been_done_is_not_repeated(house: House) -> None:
    with breaking_off() as (port, requests), Proxy([port], [house.node.port]) as proxy:
        proxy.wait_until_up()
        status, headers, body = ask(proxy.port, "POST", "/api/v1/posts", Content_Length="0")
        assert status == 502
        assert len(requests) == 1
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == 502
        requests.clear()
        assert ask(proxy.port, "GET", "/api/v1/feed")[0] == 502
        assert len(requests) > 1


def test_a_dead_server_is_passed_over(house: House) -> None:
    """Also before its check has found out."""
    with Proxy([house.api.port, free_port()], [house.node.port]) as proxy:
        wait_until(lambda: proxy.statistics()["api/api1"]["status"] == "UP", "api1 is not up")
        for method in ("GET", "POST"):
            for _ in range(10):
                status, _, _ = ask(
                    proxy.port, method, "/api/v1/users/2147483647", Content_Length="0"
                )
                assert status in (404, 405)


def test_statistics_are_on_a_port_of_their_own(house: House) -> None:
    with Client(house.proxy.url) as anybody:
        anybody.user()
    page = get(house.proxy.statistics_url)
    assert page.status_code == 200 and "websocket" in page.text
    series = get(f"{house.proxy.statistics_url}/metrics").text
    found = re.search(
        r'^haproxy_server_sessions_total\{proxy="api",server="api1"\} (\d+)', series, re.M
    )
    assert found and int(found[1]) > 0
