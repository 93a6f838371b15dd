"""From an ASGI scope to the answer's messages through the real table of routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from starlette.routing import Router
from starlette.types import ASGIApp, Message

from bench.micro.coroutines import finished
from hlfast.endpoints import ENDPOINTS
from hlfast.metrics import Sampler
from hlfast.settings import Settings
from hlfast.web import endpoint
from hlfast.web.admission import AdmissionControl
from hlfast.web.dispatch import Dispatch
from hlfast.web.edge import Edge, not_found
from hlfast.web.endpoint import Call, Reply

BODY = b'{"message":"as short as an answer can be"}'


class Somebody:
    """An authenticator that knows every caller."""

    def known(self, authorization: bytes | None) -> int:
        """Always the same one."""
        return 1

    async def user_id(self, authorization: bytes | None) -> int:
        """Always the same one."""
        return 1

    def token_version(self, authorization: bytes | None) -> int:
        """Always the first one."""
        return 0


async def answer(call: Call[Any]) -> Reply:
    """What stands in for every handler: nothing but the way to it is timed."""
    return Reply(BODY, version=call.id)


@pytest.fixture
def application() -> ASGIApp:
    """All paths of the contract, none of the work behind them."""
    table = [replace(row, handler=answer) for row in ENDPOINTS]
    services = {row.tag: None for row in table}
    paths = endpoint.paths(table, services, Somebody(), Settings(), Sampler())
    dispatch = Dispatch(endpoint.PREFIX, Router(default=not_found, redirect_slashes=False))
    dispatch.add(paths)
    return Edge(dispatch, AdmissionControl(Settings()))


@pytest.mark.parametrize(
    ("path", "version"), [("/users/7", 7), ("/feed", 0), ("/dialogs/7/messages", 7)]
)
def test_route(benchmark: BenchmarkFixture, application: ASGIApp, path: str, version: int) -> None:
    sent = benchmark(request_of(application, path))
    start, body = sent
    headers = dict(start["headers"])
    assert start["status"] == 200
    assert headers.get(b"etag") == (b'"7-7"' if version else None)
    assert headers[b"content-length"] == str(len(BODY)).encode()
    assert body["body"] == BODY


def request_of(application: ASGIApp, path: str) -> Callable[[], list[Message]]:
    """Makes one GET; gives what was sent."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    def ask() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/api/v1{path}",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer t")],
            "client": ("127.0.0.1", 40000),
        }
        finished(application(scope, receive, send))
        return sent

    return ask
