"""The table of endpoints is the contract's, and every path knows its methods."""

from __future__ import annotations

import pytest

from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import PREFIX, Endpoint
from tests import wire
from tests.clients import Client
from tests.contract import allow

pytestmark = pytest.mark.one_database

# API.md, row by row: method, path, whether everybody may.
CONTRACT = {
    ("POST", "/login"): True,
    ("POST", "/logout"): True,
    ("POST", "/users"): True,
    ("GET", "/users/me"): False,
    ("PATCH", "/users/me"): False,
    ("POST", "/users/me/password"): False,
    ("GET", "/users"): True,
    ("GET", "/users/{id}"): True,
    ("PATCH", "/users/{id}"): False,
    ("GET", "/users/search"): True,
    ("GET", "/users/{id}/posts"): False,
    ("PUT", "/friends/{user_id}"): False,
    ("GET", "/friends/{user_id}"): False,
    ("DELETE", "/friends/{user_id}"): False,
    ("GET", "/friends"): False,
    ("GET", "/friends/requests"): False,
    ("POST", "/posts"): False,
    ("GET", "/posts/{id}"): False,
    ("PATCH", "/posts/{id}"): False,
    ("DELETE", "/posts/{id}"): False,
    ("GET", "/feed"): False,
    ("POST", "/dialogs/{user_id}/messages"): False,
    ("GET", "/dialogs/{user_id}/messages"): False,
    ("GET", "/dialogs"): False,
    ("POST", "/dialogs/{user_id}/read"): False,
    # Superusers only.
    ("GET", "/lab"): False,
    ("PATCH", "/lab"): False,
}
PATHS = sorted({endpoint.path for endpoint in ENDPOINTS})
OUTSIDE = [
    "/", "/lab", "/asyncapi", "/asyncapi.json", "/docs", "/redoc", "/openapi.json",
    "/docs/oauth2-redirect", "/health/live", "/health/ready", "/health/dependencies", "/metrics",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]


def filled(path: str) -> str:
    """The path with an id in it."""
    return path.replace("{id}", "1").replace("{user_id}", "1")


def test_the_table_has_the_contracts_rows() -> None:
    assert {(row.method, row.path): row.is_public for row in ENDPOINTS} == CONTRACT
    assert len(ENDPOINTS) == len(CONTRACT)


@pytest.mark.parametrize("path", PATHS)
def test_other_methods(client: Client, path: str) -> None:
    """405 comes before 401: whoever asks needs no token to learn it."""
    allowed = allow(path)
    others = [method for method in METHODS if method not in allowed.split(", ")]
    for method in others:
        answer = client.request(method, filled(path))
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
    assert len(others) == len(METHODS) - len(allowed.split(", "))


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_other_methods_outside_the_api(client: Client, path: str, method: str) -> None:
    answer = client.request(method, client.root + path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/v1", "/api/v1/", "/api/v2/users/1", "/API/V1/users/1",
        "/api/v1/users/", "/api/v1/users/1/", "/api/v1/users//1", "//api/v1/users/1",
        "/api/v1/users/1/post", "/api/v1/posts/1/2", "/api/v1/feed/1", "/api/v1/nothing",
        "/docs/", "/health", "/health/", "/health/nothing", "/metrics/", "/favicon.ico",
        "/api/v1/users%00", "/api/v1/us%65rs%2", "/api/v1/../users", "/%ff", "/%C3%28",
        "/api/v1/users/%2e%2e/1", "/\u00e9", "/api/v1/users;a=b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_paths_that_nobody_serves(client: Client, path: str, method: str) -> None:
    answer = wire.get(client.root, path.encode(), method=method)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "text",
    [
        "0", "-1", "+1", "01", "1.0", "1e3", "0x1", "1_0", "%201", "1%20", "1%0A", "%00", "1%00",
        "١", "%D9%A1", "%EF%BC%91", "%ff", "%ED%A0%80", "%", "%zz", "null", "{id}", "*", "%2e",
        "1;2", "1%3Flimit=1",
        str(2**31), str(2**32 + 1), str(2**53), str(2**63), str(2**64), "9" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_id_of_a_user(client: Client, text: str) -> None:
    token = client.user().headers["authorization"].encode()
    for row in ENDPOINTS:
        if row.parameter == "user_id" or row.path.startswith("/users/{id}"):
            path = PREFIX + row.path.replace("{id}", text).replace("{user_id}", text)
            header = b"Authorization: " + token
            answer = wire.get(client.root, path.encode(), header, method=row.method)
            assert answer.status == 404, row.path
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "row", [row for row in ENDPOINTS if not row.is_public], ids=lambda row: row.name
)
def test_me_needs_a_token(client: Client, row: Endpoint) -> None:
    """Before anything else: nothing is said of what is there, and no body is looked at."""
    for path in (filled(row.path), row.path.replace("{", "").replace("}", "")):
        answer = client.request(row.method, path, content=b"{")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
