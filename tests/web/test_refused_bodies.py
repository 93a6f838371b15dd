"""A client that keeps its connection open reads that a refusal ends it."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.process import START_S, wait_until
from hl_utils.servers.services import Api
from tests.clients import Client
from tests.web.test_metrics import scrape

pytestmark = pytest.mark.one_database

ROUNDS = 150


@pytest.mark.parametrize(
    ("length", "token", "status"), [(65_537, True, 413), (300_000, True, 413), (60_000, False, 401)]
)
def test_what_follows_a_body_that_was_not_read(
    client: Client, length: int, token: bool, status: int
) -> None:
    """A client that reads it too late would send its next request into a closing connection."""
    sender = client.user() if token else client
    for _ in range(ROUNDS):
        refused = sender.post("/posts", content=b" " * length)
        assert refused.status_code == status
        assert refused.headers["connection"] == "close"
        assert sender.get("/users/0").status_code == 404


@pytest.mark.parametrize("door", ["direct", "HAProxy"])
@pytest.mark.parametrize(("size", "token"), [(70_000, True), (1_000_000, True), (1_000_000, False)])
def test_the_answer_arrives_although_the_body_was_not_wanted(
    api: Api, client: Client, door: str, size: int, token: bool
) -> None:
    """Under a body that is still sent, a closed connection would take the answer along."""
    status = b"413" if token else b"401"
    authorization = client.user().headers["authorization"] if token else "Bearer none"
    head = (
        f"POST /api/v1/posts HTTP/1.1\r\nHost: test\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    )
    with ExitStack() as stack:
        port = api.port
        if door == "HAProxy":
            proxy = stack.enter_context(Proxy([port], []))
            port = proxy.port
            wait_until(lambda: proxy.statistics()["api/api1"]["status"] == "UP", "not up")
        for _ in range(ROUNDS):
            with socket.create_connection(("127.0.0.1", port), timeout=START_S) as sender:
                sender.sendall(head.encode() + bytes(size))
                assert sender.recv(65536).split(b" ", 2)[1] == status


def test_a_read_with_a_body_is_answered_before_it(api: Api) -> None:
    """A read counts as in progress meanwhile: whoever sends no body must not keep it."""
    cut = "hlfast_connections_cut_total"
    head = "GET /api/v1/nothing HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n"
    before = scrape(api)[1].get(cut, 0)
    with socket.create_connection(("127.0.0.1", api.port), timeout=START_S) as sender:
        sender.sendall(head.encode())
        assert sender.recv(65536).startswith(b"HTTP/1.1 404 ")
    # Had the body been waited for, the wait would have been ended.
    assert scrape(api)[1].get(cut, 0) == before
