"""Every answer held against the row of ENDPOINTS that declares it, so that every test does so."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from pydantic import TypeAdapter

from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import PREFIX, Endpoint
from tests.http import Response

PROBLEM_KEYS = ["type", "title", "status", "detail", "instance", "request_id"]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TIME = re.compile(rb'"(?:created|updated)_at":"([^"]*)"')
_UTC_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def allow(path: str) -> str:
    """The Allow header of a path of ENDPOINTS."""
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    paths = sorted({endpoint.path for endpoint in ENDPOINTS}, key=lambda path: "{" in path)
    return [(re.compile(PREFIX + re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


@cache
def _adapter(endpoint: Endpoint) -> TypeAdapter[Any]:
    return TypeAdapter(endpoint.reply)


def path_of(path: str) -> str | None:
    """The path of ENDPOINTS that a request's path belongs to."""
    return next((known for pattern, known in _patterns() if pattern.fullmatch(path)), None)


def check(response: Response) -> None:
    """Raises AssertionError for an answer that nobody declared."""
    assert REQUEST_ID.fullmatch(response.headers["x-request-id"])
    method = "GET" if response.method == "HEAD" else response.method
    path = path_of(response.path)
    rows = [row for row in ENDPOINTS if row.path == path and row.method == method]
    if not rows:
        if path is not None:
            assert response.status_code == 405
            assert response.headers["allow"] == allow(path)
        if response.status_code >= 400 and not response.path.startswith("/health/"):
            _check_problem(response)
        return
    if response.status_code != 413:  # any request may have a body that is too large
        assert response.status_code in rows[0].every_status(), response.text
    if response.status_code >= 400:
        _check_problem(response)
    elif response.method == "HEAD" or response.status_code in (204, 304):
        assert response.content == b""
    else:
        _check_reply(rows[0], response)


def _check_reply(endpoint: Endpoint, response: Response) -> None:
    assert response.headers["content-type"] == "application/json"
    model = _adapter(endpoint).validate_json(response.content, strict=True)
    # Byte for byte: no key too many, none out of order, nothing in another form.
    assert response.content == _adapter(endpoint).dump_json(model, exclude_unset=True)
    for time in _TIME.findall(response.content):
        assert _UTC_TIME.fullmatch(time)


def _check_problem(response: Response) -> None:
    status = response.status_code
    assert response.headers["content-type"] == "application/problem+json"
    if response.method != "HEAD":
        problem = json.loads(response.content)
        assert list(problem) == PROBLEM_KEYS + ["errors"] * (status == 422)
        assert problem["type"] == "about:blank"
        assert problem["title"] == HTTPStatus(status).phrase
        assert problem["status"] == status
        assert problem["detail"]
        assert unquote(problem["instance"]) == response.path
        assert problem["instance"].isascii()
        assert problem["request_id"] == response.headers["x-request-id"]
        if status == 422:
            _check_errors(problem["errors"])
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1


def _check_errors(errors: Any) -> None:
    assert errors
    for error in errors:
        assert sorted(error) == ["loc", "msg", "type"]
        assert error["loc"][0] in ("body", "query", "path")
        assert isinstance(error["msg"], str) and isinstance(error["type"], str)
