"""The FastAPI shim: it documents the endpoints and never serves one.

Its assets come from a package on this machine, so that /docs renders without internet. It is
imported when somebody asks for a page of it: without FastAPI and aio_pika a start imports a third
less, 0.47 s of CPU instead of 0.70.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Form, Path, Query
from fastapi.security import OAuth2PasswordBearer
from fastapi_offline import FastAPIOffline

from hlfast.web.endpoint import PREFIX, Endpoint
from hlfast.web.forms import MULTIPART, URLENCODED

DESCRIPTION = """A social network's backend built to be fast.

First steps: **Register** (`POST /api/v1/users`), press **Authorize** and give that name and
password (leave `client_id` and `client_secret` empty), then try any row with a lock.

Lists are paged by key: pass `next` of one page as `before` or `after` of the following one, until
it is null. Errors are problems of RFC 9457. Every answer has an `X-Request-ID`.

What happens meanwhile is told over a websocket: see [live events](/asyncapi). All of it at work is
[the page](/), whose [client.js](/page/client.js) any other page may use.
"""
TAGS = [
    {"name": "users", "description": "Register, log in, profiles, search"},
    {"name": "friends", "description": "Ask, accept, leave"},
    {"name": "posts", "description": "Write, walls, the feed"},
    {"name": "dialogs", "description": "Messages between two"},
]
# How OpenAPI names what send_problem writes.
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "type"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
    },
}


def documentation(endpoints: Sequence[Endpoint], title: str, version: str, assets: str) -> FastAPI:
    """The application whose OpenAPI is made from the endpoints' table.

    `assets` is the path below which it serves what its pages load.
    """
    shim: FastAPI = FastAPIOffline(
        title=title,
        description=DESCRIPTION,
        version=version,
        openapi_tags=TAGS,
        docs_url="/docs",
        redoc_url="/redoc",
        static_url=assets,
        # Survives a reload of the page.
        swagger_ui_parameters={"persistAuthorization": True},
    )
    bearer = OAuth2PasswordBearer(
        tokenUrl=f"{PREFIX}/login",
        description="Name and password are enough: leave `client_id` and `client_secret` empty.",
    )
    for endpoint in endpoints:
        shim.add_api_route(
            PREFIX + endpoint.path,
            _never_called(endpoint, bearer),
            methods=[endpoint.method],
            operation_id=endpoint.name,
            name=endpoint.name,
            summary=endpoint.summary,
            tags=[endpoint.tag],
            status_code=endpoint.statuses[0],
            response_model=endpoint.reply,
            responses=_responses(endpoint),
        )
    schema = shim.openapi()
    for endpoint in endpoints:
        responses = schema["paths"][PREFIX + endpoint.path][endpoint.method.lower()]["responses"]
        # FastAPI adds a 422 of its own form wherever there is a parameter.
        for status in responses.keys() - set(map(str, endpoint.every_status())):
            del responses[status]
        if endpoint.form is not None:
            content = schema["paths"][PREFIX + endpoint.path]["post"]["requestBody"]["content"]
            content[MULTIPART] = content[URLENCODED]
    schemas = schema["components"]["schemas"]
    for endpoint in endpoints:
        if endpoint.method == "PATCH" and endpoint.body is not None:
            # An absent field stays as it is: no default takes its place.
            for field in schemas[endpoint.body.__name__]["properties"].values():
                field.pop("default", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    return shim


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": kind}}


HEADERS = {
    401: {"WWW-Authenticate": _header("`Bearer`")},
    429: {"Retry-After": _header("Seconds to wait", "integer")},
    503: {"Retry-After": _header("Seconds to wait", "integer")},
}
ETAG = {"ETag": _header("The version, for `If-None-Match`")}


def _responses(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    if endpoint.has_etag:
        responses[endpoint.statuses[0]] = {"headers": ETAG}
    for status in endpoint.every_status()[1:]:
        responses[status] = {"description": HTTPStatus(status).phrase}
        if status in HEADERS:
            responses[status]["headers"] = HEADERS[status]
        if status in endpoint.statuses and status != 204:
            responses[status]["model"] = endpoint.reply
        elif status >= 400:
            responses[status]["content"] = {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
    return responses


def _never_called(endpoint: Endpoint, bearer: OAuth2PasswordBearer) -> Any:
    """A function whose signature says what goes in, which is all that FastAPI reads of it."""

    async def handler(**_: Any) -> None:
        raise AssertionError("no API call enters FastAPI")

    parameters: dict[str, Any] = {}
    if endpoint.parameter:
        parameters[endpoint.parameter] = Annotated[int, Path(ge=1, le=endpoint.id_max)]
    if endpoint.query is not None:
        parameters["query"] = Annotated[endpoint.query, Query()]
    if endpoint.form is not None:
        parameters["form"] = Annotated[endpoint.form, Form()]
    if endpoint.body is not None:
        parameters["body"] = Annotated[endpoint.body, Body()]
    if not endpoint.is_public:
        parameters["token"] = Annotated[str, Depends(bearer)]
    handler.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
            for name, annotation in parameters.items()
        ]
    )
    return handler
