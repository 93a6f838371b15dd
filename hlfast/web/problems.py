"""Errors as `application/problem+json` (RFC 9457): the one table of statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from hlfast import codec, errors
from hlfast.web.request import Head

# What a path may hold as it is (RFC 3986, 3.3).
URI_SAFE = "/:@!$&'()*+,;=~"

STATUS: dict[type[errors.HlfastError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}


CONTENT_TYPE = "application/problem+json"
# 1,000 bytes or more.
_LONG_BODY_DIGITS = 4


# Of a problem: how many errors it names, and how many characters of names that a client has made
# up: of one, and of all together.
_ERRORS_MAX = 20
_NAME_MAX = 1024
_NAMES_MAX = 4096
_METHOD_MAX = 32
_THROWN_AWAY_MAX = 4 * 1024 * 1024


class MethodNotAllowed(Exception):
    """A path that exists, asked with another method than these."""

    def __init__(self, allow: str) -> None:
        super().__init__(allow)
        self.allow = allow


def is_long(content_length: bytes | None) -> bool:
    """Whether a body may be longer than what arrived together with the request's head."""
    return content_length is not None and len(content_length) >= _LONG_BODY_DIGITS


def _bounded(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first of many errors, with the beginnings of their names: unknown fields have any."""
    errors_shown: list[dict[str, Any]] = []
    left = _NAMES_MAX
    for error in found[:_ERRORS_MAX]:
        location = [part[:_NAME_MAX] if isinstance(part, str) else part for part in error["loc"]]
        errors_shown.append({**error, "loc": location})
        left -= sum(len(part) for part in location if isinstance(part, str))
        if left < 0:
            break
    return errors_shown


def problem(status: int, detail: str, instance: str, request_id: str, **extra: Any) -> bytes:
    """The body of an answer of this status: the only builder of one.

    `instance` is a URI reference, empty where the request's path was never known.
    """
    return codec.encode(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "instance": instance,
            "request_id": request_id,
            **extra,
        }
    )


async def send_problem(
    scope: Scope, receive: Receive, send: Send, head: Head, error: Exception
) -> int:
    """Answer with the problem that an exception stands for; returns the status."""
    extra: dict[str, Any] = {}
    headers: list[tuple[bytes, bytes]] = []
    match error:
        case MethodNotAllowed():
            status = 405
            detail = f"{scope['method'][:_METHOD_MAX]} is not allowed here, but {error.allow}."
            headers.append((b"allow", error.allow.encode()))
        case errors.HlfastError():
            status, detail = STATUS[type(error)], error.detail
            if isinstance(error, errors.Invalid):
                extra["errors"] = _bounded(error.errors)
                if len(extra["errors"]) < len(error.errors):
                    detail = f"{detail} These are the first errors of many."
            if isinstance(error, errors.TooMany | errors.Unavailable):
                headers.append((b"retry-after", str(error.retry_after_s).encode()))
            if isinstance(error, errors.UnsupportedMedia):
                headers.append((b"accept", error.accepted.encode()))
            if isinstance(error, errors.Unauthenticated):
                headers.append((b"www-authenticate", b"Bearer"))
        case _:
            status, detail = 500, "The server made a mistake; it has been logged."
    if isinstance(error, errors.TooLarge | errors.TooSlow) or is_long(head.content_length):
        await _throw_away(scope, receive, head)
        # Its body may not have been read, and then nothing can follow it. Unsaid, the client
        # would send its next request into a closing connection.
        headers.append((b"connection", b"close"))
    # Bytes that were no UTF-8 arrive as lone surrogates or replacements.
    instance = quote(scope["path"].encode("utf-8", "replace"), URI_SAFE)
    body = problem(status, detail, instance, head.request_id.decode(), **extra)
    headers += [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", head.request_id),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status


async def _throw_away(scope: Scope, receive: Receive, head: Head) -> None:
    """Read what is left of a body that nobody wants, within bounds.

    The connection is closed after the answer. Closed under what still comes, it is reset, and the
    answer is lost with it, above all where a proxy stands between.
    """
    # A GET counts as in progress meanwhile; nobody sends one a body in good faith.
    if scope["method"] == "GET" or _is_more_than(head.content_length, _THROWN_AWAY_MAX):
        return
    # Who asks first whether the body is wanted has sent none.
    if head.is_late or any(name == b"expect" for name, _ in scope["headers"]):
        return
    size = 0
    # It has its deadline, like any other.
    head.awaits_body = not head.is_read
    # Too slow, or too many at once: it is answered as it is.
    with suppress(errors.HlfastError):
        while head.awaits_body and size <= _THROWN_AWAY_MAX:
            message = await receive()
            size += len(message.get("body", b""))
            head.awaits_body = message.get("more_body", False)
    head.awaits_body = False


def _is_more_than(content_length: bytes | None, maximum: int) -> bool:
    """Whether a body says that it is longer. What is no number says nothing."""
    if content_length is None or not content_length.isdigit():
        return False
    # Of endless digits the number is not made.
    return len(content_length) > len(str(maximum)) or int(content_length) > maximum
