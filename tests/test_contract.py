"""The check that holds every answer to its declaration: what it lets pass, and what it finds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hlfast.web.endpoint import PREFIX
from tests import contract
from tests.http import Headers, Response

USER = {
    "id": 1,
    "username": "ada",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "birthdate": "1815-12-10",
    "bio": None,
    "city": None,
    "country": None,
}
POST = {
    "id": 1,
    "author_id": 1,
    "content": "x",
    "privacy": "public",
    "created_at": "2024-01-01T00:00:00.123456Z",
    "updated_at": "2024-01-01T00:00:00Z",
}
PROBLEM = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "x",
    "instance": f"{PREFIX}/users/1",
    "request_id": "r",
}
NOT_ALLOWED = {"status": 405, "title": "Method Not Allowed", "instance": f"{PREFIX}/login"}
JSON, PROBLEM_JSON = "application/json", "application/problem+json"


def answer(path: str, status: int, body: Any, **headers: str) -> Response:
    """What a server might say to a GET."""
    content = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    kind = PROBLEM_JSON if status >= 400 else JSON
    every = {"x-request-id": "r", "content-type": kind} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Response("GET", PREFIX + path, status, Headers(every), content)


@pytest.mark.parametrize(
    "response",
    [
        answer("/users/1", 200, USER),
        answer("/posts/1", 200, POST),
        answer("/friends", 200, {"items": [USER], "next": 1}),
        answer("/feed", 200, {"items": [], "next": None}),
        answer("/users/1", 304, b""),
        answer("/users/1", 404, PROBLEM),
    ],
)
def test_what_was_declared_passes(response: Response) -> None:
    contract.check(response)


@pytest.mark.parametrize(
    "response",
    [
        answer("/users/1", 200, USER | {"password_hash": "x"}),
        answer("/users/1", 200, {name: USER[name] for name in list(USER)[:-1]}),
        answer("/users/1", 200, {name: USER[name] for name in reversed(USER)}),
        answer("/users/1", 200, USER | {"id": "1"}),
        answer("/users/1", 200, USER | {"birthdate": "1815-12-10T00:00:00"}),
        answer("/users/1", 200, USER, content_type="text/json"),
        answer("/users/1", 200, USER, x_request_id="not sane"),
        answer("/users/1", 201, USER),
        answer("/users/1", 500, PROBLEM | {"status": 500, "title": "Internal Server Error"}),
        answer("/posts/1", 200, POST | {"created_at": "2024-01-01T00:00:00"}),
        answer("/posts/1", 200, POST | {"created_at": "2024-01-01T00:00:00+00:00"}),
        answer("/posts/1", 200, POST | {"privacy": "secret"}),
        answer("/friends", 200, {"items": [USER | {"x": 1}], "next": 1}),
        answer("/friends", 200, {"items": [USER]}),
        answer("/users/1", 404, PROBLEM, content_type=JSON),
        answer("/users/1", 404, PROBLEM | {"request_id": "another"}),
        answer("/users/1", 404, PROBLEM | {"errors": []}),
        answer("/users/me", 401, PROBLEM | {"status": 401, "title": "Unauthorized"}),
        answer("/nothing", 404, {"detail": "Not Found"}),
        answer(
            "/login", 405, PROBLEM | {"status": 405, "title": "Method Not Allowed"}, allow="GET"
        ),
    ],
)
def test_what_was_not_is_found(response: Response) -> None:
    with pytest.raises((AssertionError, ValueError, KeyError)):
        contract.check(response)
