"""The opening handshake: what a client asks for, and how it is refused.

Functions of the request as picows parsed it; whether a token is good is the caller's to say.
"""

from __future__ import annotations

import base64
import binascii
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import picows

from hlfast import errors
from hlfast.web.problems import CONTENT_TYPE, STATUS, problem
from hlfast.web.request import RequestIds, read_head
from hlfast.websocket.connection import Connection
from hlfast.websocket.listener import Answer

_log = logging.getLogger(__name__)

VERSION = "13"
SUBPROTOCOL = "bearer"
_QUERY_FIELDS_MAX = 16
_REQUEST_IDS = RequestIds()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What the client brought. The token has not been verified; the cursor is opaque."""

    token: str
    cursor: str | None
    # The client waits for one of the subprotocols that it offered, and this is ours.
    subprotocol: str | None


class UpgradeRequired(Exception):
    """No websocket handshake, or one of another version than 13."""


def answer(
    request: picows.WSUpgradeRequest,
    path: str,
    connect: Callable[[Upgrade], Connection],
    may_connect: Callable[[str, str], bool] | None = None,
) -> Answer:
    """101 with the Connection that `connect` makes, or a problem. Never raises.

    `may_connect`, of a page's Origin and the Host, holds back foreign pages with 403.

    `connect` refuses by raising an HlfastError, such as Unavailable: 503. A token that is not good
    it does not refuse: a browser is shown nothing of a refused handshake, so such a connection is
    closed once it is open. Only without any token the answer is 401.
    """
    try:
        if target_path(request) != path:
            raise errors.NotFound(
                f"There is nothing here but {path} and /api/v1/events: see /asyncapi of the API."
            )
        if (refused := refuse_method(request)) is not None:
            return refused
        check_upgrade(request)
        origin = request.headers.get("origin")
        if origin and may_connect and not may_connect(origin, request.headers.get("host", "")):
            raise errors.Forbidden("Pages of this origin may not connect.")
        upgrade = read_upgrade(request)
        connection = connect(upgrade)
    except errors.HlfastError as error:
        return refusal(request, STATUS[type(error)], error.detail, error_headers(error))
    except UpgradeRequired as error:
        wanted = {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}
        return refusal(request, HTTPStatus.UPGRADE_REQUIRED, str(error), wanted)
    except Exception as error:
        # Not the message: it may hold what the client sent.
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("%s in a websocket's handshake\n%s", type(error).__name__, where)
        detail = "The server made a mistake; it has been logged."
        return refusal(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, {})
    headers = {"X-Request-ID": request_id(request)}
    if upgrade.subprotocol:
        headers["Sec-WebSocket-Protocol"] = upgrade.subprotocol
    return Answer(picows.WSUpgradeResponse.create_101_response(headers), connection)


def refuse_method(request: picows.WSUpgradeRequest) -> Answer | None:
    """405 for whatever is not GET or HEAD, which is all that this port knows."""
    if request.method in (b"GET", b"HEAD"):
        return None
    detail = "This method is not allowed here; see Allow."
    return refusal(request, HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": "GET, HEAD"})


def malformed(status: HTTPStatus, detail: str) -> bytes:
    """A problem+json for what is no request: `listen.Refuse`."""
    made = _problem(_REQUEST_IDS.next().decode(), "", status, detail, {"Connection": "close"})
    return bytes(made.response.to_bytes())


def target_path(request: picows.WSUpgradeRequest) -> str:
    """The path as it was sent, without the query."""
    return request.path.partition(b"?")[0].decode("utf-8", "replace")


def check_upgrade(request: picows.WSUpgradeRequest) -> None:
    """Hold the request to RFC 6455, 4.2.1, and make its headers what picows expects.

    Both headers are lists of tokens. Firefox sends `Connection: keep-alive, Upgrade`, and picows
    2.3.1, the newest when this was written, compares the whole value with `upgrade` and answers
    400; its repository had no change of that, and no issue about it. It validates after the
    listener factory has seen the request, so the headers get the one token that it looks for.

    Raises UpgradeRequired, and Malformed for a bad key.
    """
    headers = request.headers
    if "upgrade" not in _tokens(request, "connection", lower=True):
        raise UpgradeRequired("This is a websocket: connect with an upgrade.")
    if "websocket" not in _tokens(request, "upgrade", lower=True):
        raise UpgradeRequired("This is a websocket: connect with an upgrade.")
    headers["connection"] = "upgrade"
    headers["upgrade"] = "websocket"
    if headers.get("sec-websocket-version") != VERSION:
        raise UpgradeRequired(f"The websocket version is {VERSION}.")
    try:
        key = base64.b64decode(headers.get("sec-websocket-key", "").encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if len(key) != 16:
        raise errors.Malformed("Sec-WebSocket-Key is not 16 bytes in base64.")


def read_upgrade(request: picows.WSUpgradeRequest) -> Upgrade:
    """The token, from the first part that has one, and the cursor.

    `Authorization: Bearer`, then the subprotocol pair `bearer, <token>` (a browser can set no
    header), then `?token=`. Raises Unauthenticated when there is none.
    """
    query = request.path.partition(b"?")[2].decode("ascii", "replace")
    try:
        fields = parse_qs(query, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        raise errors.Malformed("The query has too many fields.") from None
    offered = _tokens(request, "sec-websocket-protocol")
    offers_bearer = SUBPROTOCOL in offered
    token = bearer(request)
    if not token and offers_bearer:
        token = next(iter(offered[offered.index(SUBPROTOCOL) + 1 :]), "")
    token = token or fields.get("token", [""])[0]
    if not token:
        raise errors.Unauthenticated("A bearer token is needed.")
    cursor = fields.get("cursor", [None])[0]
    return Upgrade(token, cursor, SUBPROTOCOL if offers_bearer else None)


def bearer(request: picows.WSUpgradeRequest) -> str:
    """The token of the Authorization header; empty if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def refusal(
    request: picows.WSUpgradeRequest,
    status: int,
    detail: str,
    headers: dict[str, str],
    **extra: Any,
) -> Answer:
    """A problem+json instead of what was asked for; the connection is closed after it."""
    return _problem(request_id(request), target_path(request), status, detail, headers, **extra)


def request_id(request: picows.WSUpgradeRequest) -> str:
    """The caller's own, if it sent a sane one, or one of ours."""
    pairs = ((k.lower().encode(), v.encode("utf-8", "replace")) for k, v in request.headers.items())
    return read_head({"headers": pairs}, _REQUEST_IDS).request_id.decode()


def _problem(
    asked_by: str,
    instance: str,
    status: int,
    detail: str,
    headers: dict[str, str],
    **extra: Any,
) -> Answer:
    body = problem(status, detail, instance, asked_by, **extra)
    headers = {
        "Content-Type": CONTENT_TYPE,
        "X-Request-ID": asked_by,
        "Cache-Control": "no-store",
        **headers,
    }
    return Answer(picows.WSUpgradeResponse.create_error_response(status, body, headers), None)


def error_headers(error: errors.HlfastError) -> dict[str, str]:
    """What an error's status demands beside its body."""
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.TooMany | errors.Unavailable):
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _tokens(request: picows.WSUpgradeRequest, name: str, lower: bool = False) -> list[str]:
    """A header's comma-separated values, over all its lines."""
    values = ",".join(request.headers.getall(name, []))
    tokens = [token.strip() for token in values.split(",")]
    return [token.lower() for token in tokens] if lower else tokens
