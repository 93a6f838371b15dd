"""Pages of other origins: preflights, answers that they may read, and websockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from hlfast.settings import Settings, SettingsError, from_environment, origins_of
from hlfast.web.origins import Origins
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.http import Response, ask
from tests.nodes import Socket

pytestmark = pytest.mark.one_database

APP, OTHER = "https://app.example.org", "https://evil.example.org"
LIST = {"HLFAST_ALLOWED_ORIGINS": f"{APP}, http://localhost:5173/", "HLFAST_ACCESS_LOG": "true"}
ASKS = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    """Of the API and of the node."""
    return new_database(postgres_server, TEMPLATE)


@pytest.fixture(scope="module")
def listed(database: str, redis_server: RedisServer) -> Iterator[Client]:
    """An API that two origins may call."""
    with Api(database, redis_server.url, **LIST) as api, Client(api.url) as client:
        yield client


def allowed(answer: Any) -> str | None:
    """The origin that may read an answer."""
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    origin: str | None = answer.headers.get("access-control-allow-origin")
    return origin


def preflight(client: Client, path: str, headers: Any) -> Response:
    """Of no endpoint: not held against their declarations."""
    return ask("OPTIONS", f"{client.root}/api/v1{path}", headers=headers)


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
def test_preflight(listed: Client, origin: str) -> None:
    for path in ("/users/me", "/posts/1", "/login", "/users/1/posts", "/nothing"):
        answer = preflight(listed, path, {"Origin": origin, **ASKS})
        assert (answer.status_code, answer.content, allowed(answer)) == (204, b"", origin)
        assert int(answer.headers["access-control-max-age"]) > 0
        methods = answer.headers["access-control-allow-methods"].split(", ")
        assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(methods)
        named = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "if-none-match", "x-request-id"} <= set(named)
        assert answer.headers["x-request-id"]
        assert "content-length" not in answer.headers


def test_answers_and_errors_can_be_read(listed: Client) -> None:
    me = listed.user()
    headers = {"Origin": APP}
    answers = [
        me.get("/users/me", headers=headers),
        me.get("/users/me", headers={**headers, "If-None-Match": "*"}),
        me.post("/posts", json={"content": "Hi"}, headers=headers),
        me.post("/posts", json={"content": ""}, headers=headers),
        me.post("/posts", content=b"{", headers=headers),
        me.post("/posts", content=b" " * 70_000, headers=headers),
        me.get("/posts/0", headers=headers),
        me.put("/posts/1", headers=headers),
        me.get("/nothing", headers=headers),
        listed.get("/feed", headers=headers),
        listed.get(f"{listed.root}/openapi.json", headers=headers),
        listed.get(f"{listed.root}/health/live", headers=headers),
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 304, 201, 422, 400, 413, 404, 405, 404, 401, 200, 200]
    for answer in answers:
        assert allowed(answer) == APP
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert set(exposed) == {"ETag", "Location", "Retry-After", "X-Request-ID"}


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "https://app.example.org.evil.org", "http://app.example.org", f"{APP}:444",
     "https://APP.example.org", f"{APP}/", "https://xapp.example.org", "", "é"],
    ids=ascii,
)  # fmt: skip
def test_nobody_else(listed: Client, origin: str) -> None:
    raw = {b"Origin": origin.encode()}
    answer = listed.get("/users/1", headers=raw)
    assert allowed(answer) is None
    asked = {**raw, b"Access-Control-Request-Method": b"GET"}
    refused = preflight(listed, "/users/me", asked)
    assert (refused.status_code, allowed(refused)) == (405, None)
    # Nor is what comes without an origin taken for one that has one.
    assert allowed(listed.get("/users/1")) is None


def test_options_that_ask_for_nothing_are_no_preflight(listed: Client) -> None:
    answer = listed.options("/users/me", headers={"Origin": APP})
    assert (answer.status_code, allowed(answer)) == (405, APP)


def test_where_there_is_no_list_no_answer_says_anything(client: Client) -> None:
    for answer in (
        client.get("/users/1", headers={"Origin": APP}),
        client.options("/users/me", headers={"Origin": APP, **ASKS}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "vary" not in answer.headers


def test_a_websocket_of_a_foreign_page(
    listed: Client, database: str, redis_server: RedisServer
) -> None:
    me = listed.user()
    token = me.headers["authorization"].removeprefix("Bearer ")
    api_port = listed.root.rpartition(":")[2]
    with Node(database, redis_server.url, **LIST, HLFAST_HTTP_PORT=api_port) as node:
        own = [f"http://127.0.0.1:{node.port}", f"http://127.0.0.1:{api_port}"]
        for origin in (None, APP, "http://localhost:5173", *own):
            with Socket(node.ws_url, token, origin=origin) as socket:
                assert socket.hello["user_id"] == me.id
        for origin in (OTHER, "null", f"http://localhost:{api_port}", "http://127.0.0.1:1", "x"):
            with pytest.raises(InvalidStatus) as refused:
                Socket(node.ws_url, token, origin=origin)
            assert refused.value.response.status_code == 403
            assert refused.value.response.headers["content-type"] == "application/problem+json"


def test_without_a_list_any_page_connects() -> None:
    assert Origins(Settings()).may_connect(OTHER, "127.0.0.1:8001")
    assert Origins(Settings(allowed_origins="*")).may_connect(OTHER, "127.0.0.1:8001")


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("https://example.org", "example.org", True),
        ("https://example.org", "example.org:443", True),
        ("http://example.org", "example.org", True),
        ("http://example.org:8000", "example.org:8001", True),
        ("http://[::1]:8000", "[::1]:8001", True),
        ("http://example.org:8002", "example.org:8001", False),
        ("http://example.com:8000", "example.org:8001", False),
        ("ftp://example.org", "example.org", False),
        ("http://example.org:x", "example.org", False),
        ("http://[::1", "example.org", False),
        ("http://example.org", "", False),
    ],
)
def test_pages_of_our_own(origin: str, host: str, is_own: bool) -> None:
    assert Origins(Settings(allowed_origins=APP)).may_connect(origin, host) is is_own


def test_origins_are_read_as_browsers_write_them() -> None:
    assert origins_of("") == origins_of(" , ") == frozenset()
    assert origins_of("HTTPS://App.Example.org:443/,http://[::1]:80") == {APP, "http://[::1]"}
    assert origins_of("*") == {"*"}


@pytest.mark.parametrize(
    "value",
    ["app.example.org", f"{APP}/path", f"{APP}?x", f"{APP}#", "https://", "https://*.example.org:x",
     "https://user@example.org", "ftp://example.org", "null", f"{APP} http://localhost",
     "https://[::1", f"{APP};http://localhost"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        Settings(allowed_origins=value)
    monkeypatch.setenv("HLFAST_ALLOWED_ORIGINS", value)
    with pytest.raises(SettingsError, match="HLFAST_ALLOWED_ORIGINS"):
        from_environment()
