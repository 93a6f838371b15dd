"""The FastAPI shim: it documents the endpoints and never serves one.

Its assets come from a package on this machine, so that /docs renders without internet. It is
imported when somebody asks for a page of it: without FastAPI and aio_pika a start imports a third
less, 0.47 s of CPU instead of 0.70.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Form, Path, Query
from fastapi.security import OAuth2PasswordBearer
from fastapi_offline import FastAPIOffline

from hlfast.web.endpoint import PREFIX, Endpoint
from hlfast.web.forms import MULTIPART
from hlfast.web.problems import CONTENT_TYPE

DESCRIPTION = """A social network's backend built to be fast.

First steps: register (`POST /api/v1/users`), log in with that name and password
(`POST /api/v1/login`), and send the `access_token` as `Authorization: Bearer <access_token>`. All
of it can be tried in a browser, at [/docs](/docs).

Lists are paged by key: pass `next` of one page as `before` or `after` of the following one, until
it is null. Errors are problems of RFC 9457. Every answer has an `X-Request-ID`.

What happens meanwhile is sent over a websocket: see [live events](/asyncapi). All of it at work is
[the page](/), whose [client.js](/page/client.js) any other page may use.
"""
TAGS = [
    {"name": "users", "description": "Register, log in, profiles, search"},
    {"name": "friends", "description": "Ask, accept, leave"},
    {"name": "posts", "description": "Write, walls, the feed"},
    {"name": "dialogs", "description": "Messages between two"},
    {"name": "lab", "description": "One process at work, for superusers"},
]


# How OpenAPI names what send_problem writes.
def _property(description: str, example: Any, kind: str = "string") -> dict[str, Any]:
    return {"type": kind, "description": description, "examples": [example]}


PROBLEM = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": _property("Always this: the status says it all.", "about:blank"),
        "title": _property("The status in words.", "Not Found"),
        "status": _property("The status of the answer.", 404, "integer"),
        "detail": _property("What it was, for people.", "There is no such post."),
        "instance": _property("The path that was asked for.", "/api/v1/posts/512"),
        "request_id": _property("What the log of the service calls this request.", "8d5f-2a"),
        "errors": {
            "type": "array",
            "description": "Of a 422: each field that is not acceptable.",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "type"],
                "properties": {
                    "loc": {
                        "type": "array",
                        "description": "Where, from the outside in.",
                        "items": {"type": ["string", "integer"]},
                        "examples": [["body", "content"]],
                    },
                    "msg": _property("What is wrong, for people.", "Field required"),
                    "type": _property("The same, for programs.", "missing"),
                },
            },
        },
    },
}
# What a status means wherever a row says nothing else, what to do, and a detail of such an answer.
ERRORS = {
    400: ("Not even readable: mend the request.", "The body is not JSON in UTF-8."),
    401: ("No token, or a bad one: renew it by `POST /login`.", "The token has expired."),
    403: ("Seen, but not yours to change.", "This is somebody else's."),
    404: ("Not there, or not for you to see.", "There is no such thing."),
    408: ("The body took too long: send it again.", "The body took too long to arrive."),
    409: ("It contradicts what is there.", "This username is taken."),
    413: ("The body is over its bound.", "The body has more than 65536 bytes."),
    415: ("Another content type is needed: `Accept` says which.", "A form is needed."),
    422: ("Readable, but not acceptable: `errors` says why.", "The input is not acceptable."),
    429: ("Too many requests of yours are under way: wait.", "You have too many requests."),
    503: ("Not now: ask again after `Retry-After`.", "The service has too much to do."),
}
_FIELD_ERROR = {"loc": ["query", "limti"], "msg": "Extra inputs are not permitted"}
PARAMETERS = {
    "id": "Which one.",
    "user_id": "The other user.",
}


def documentation(endpoints: Sequence[Endpoint], info: Mapping[str, Any], assets: str) -> FastAPI:
    """The application whose OpenAPI is made from the endpoints' table.

    `assets` is the path below which it serves what its pages load.
    """
    shim: FastAPI = FastAPIOffline(
        title=info["title"],
        description=DESCRIPTION,
        version=info["version"],
        contact=info["contact"],
        license_info=info["license"],
        openapi_tags=TAGS,
        # Where the document itself came from.
        servers=[{"url": "/", "description": "This service"}],
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
            description=endpoint.about,
            tags=[endpoint.tag],
            status_code=endpoint.statuses[0],
            response_model=endpoint.reply,
            responses=_responses(endpoint),
        )
    schema = shim.openapi()
    for endpoint in endpoints:
        operation = schema["paths"][PREFIX + endpoint.path][endpoint.method.lower()]
        if endpoint.is_public:
            operation["security"] = []
        responses = operation["responses"]
        # FastAPI adds a 422 of its own form wherever there is a parameter.
        for status in responses.keys() - set(map(str, endpoint.every_status())):
            del responses[status]
        if endpoint.form is not None:
            # One is enough to generate from: some make a client of two that cannot be imported.
            operation["description"] += f" The form may be `{MULTIPART}`, too."
    schemas = schema["components"]["schemas"]
    for endpoint in endpoints:
        if endpoint.method == "PATCH" and endpoint.body is not None:
            # An absent field stays as it is: no default replaces it.
            for field in schemas[endpoint.body.__name__]["properties"].values():
                field.pop("default", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    return shim


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": kind}}


SUCCESSES = {
    200: "Done, or found.",
    201: "Made; `Location` is its URL, where it has one.",
    204: "Done; there is nothing to say.",
    304: "The version that `If-None-Match` names is still the newest.",
}
HEADERS = {
    401: {"WWW-Authenticate": _header("`Bearer`")},
    429: {"Retry-After": _header("Seconds to wait", "integer")},
    503: {"Retry-After": _header("Seconds to wait", "integer")},
}
ETAG = {"ETag": _header("The version, for `If-None-Match`")}


def _responses(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    first = endpoint.statuses[0]
    responses: dict[int | str, dict[str, Any]] = {first: {"description": SUCCESSES[first]}}
    if endpoint.has_etag:
        responses[first]["headers"] = ETAG
    for status in endpoint.every_status()[1:]:
        responses[status] = {"description": _meaning(endpoint, status)}
        if status in HEADERS:
            responses[status]["headers"] = HEADERS[status]
        if status in endpoint.statuses and status != 204:
            responses[status]["model"] = endpoint.reply
        elif status >= 400:
            responses[status]["content"] = {
                CONTENT_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _problem(endpoint, status),
                }
            }
    return responses


def _meaning(endpoint: Endpoint, status: int) -> str:
    if status in SUCCESSES:
        return SUCCESSES[status]
    return endpoint.errors.get(status) or ERRORS[status][0]


def _problem(endpoint: Endpoint, status: int) -> dict[str, Any]:
    """An answer as it may look."""
    shown = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": endpoint.errors.get(status) or ERRORS[status][1],
        "instance": PREFIX + endpoint.path.replace(f"{{{endpoint.parameter}}}", "512"),
        "request_id": "8d5f3c9e1b2a4f60-2a",
    }
    return shown | (
        {"errors": [_FIELD_ERROR | {"type": "extra_forbidden"}]} if status == 422 else {}
    )


def _never_called(endpoint: Endpoint, bearer: OAuth2PasswordBearer) -> Any:
    """A function whose signature says what goes in, which is all that FastAPI reads of it."""

    async def handler(**_: Any) -> None:
        raise AssertionError("no API call enters FastAPI")

    parameters: dict[str, Any] = {}
    if endpoint.parameter:
        parameters[endpoint.parameter] = Annotated[
            int,
            Path(
                ge=1,
                le=endpoint.id_max,
                description=PARAMETERS[endpoint.parameter],
                examples=[512],
            ),
        ]
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
