"""Server-sent events: a session for those who cannot hold a websocket, over an HTTP answer."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import picows

from hlfast import codec, errors
from hlfast.auth.tokens import Claims
from hlfast.live.session import SLOTS, Host, Session
from hlfast.live.upgrade import bearer, error_headers, refusal, request_id
from hlfast.web.fields import Query, pairs, validate
from hlfast.web.origins import EXPOSED, HEADERS, MAX_AGE_S, Origins
from hlfast.web.problems import STATUS
from hlfast.websocket.event_stream import EventStream, event_of
from hlfast.websocket.listener import Answer
from hlfast.websocket.wire import CloseCode, payloads_of

_log = logging.getLogger(__name__)

PATH = "/api/v1/events"
_ALLOW = "GET"
# Whoever has too many streams may try again when one of them is closed.
_SHARE_RETRY_AFTER_S = 1
# Frames that are encoded once for all streams: those of one entry of the log, and some more.
_ENCODED_MAX = 64


class _Fields(Query):
    token: str = ""
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client brought, and how it is answered. The token has not been verified."""

    token: str
    cursor: str | None
    # The head of the answer with the events.
    head: bytes
    # The whole answer if there will be none.
    refusal: Callable[[errors.HlfastError | None], bytes]


class StreamSession(Session, EventStream):
    """A session over an event stream. Closed before its first event, it is answered by a problem.

    Of frames, which are encoded once, it makes events, which are encoded once.
    """

    __slots__ = SLOTS

    def __init__(self, node: Host, claims: Claims, wanted: Wanted) -> None:
        def refuse(code: int, reason: str) -> bytes:
            return wanted.refusal(error_of(code, reason))

        super().__init__(node.writes, wanted.head, refuse)
        self.enlist(node, claims, wanted.cursor)

    def encode(self, frames: bytes) -> bytes:
        return _events(frames)

    def end(self, code: int, reason: str) -> bytes:
        """An `error` event: the reason is the one that a websocket is closed with."""
        error = error_of(code, reason)
        name = type(error).__name__.lower() if error is not None else "fault"
        return event_of(
            b"error", b"", self._node.frames.build("error", {"code": name, "detail": reason})
        )


@lru_cache(_ENCODED_MAX)
def _events(frames: bytes) -> bytes:
    return b"".join(map(_event, payloads_of(frames)))


def _event(data: bytes) -> bytes:
    fields = codec.decode(data)
    return event_of(fields["type"].encode(), fields.get("cursor", "").encode(), data)


def error_of(code: int, reason: str) -> errors.HlfastError | None:
    """What a close code means to those who know HTTP; None is a fault of the node."""
    match code:
        case CloseCode.POLICY:
            known = (errors.Unauthenticated.expired(), errors.Unauthenticated.revoked())
            named = (error for error in known if error.close_reason == reason)
            return next(named, errors.Unauthenticated.invalid())
        case CloseCode.TOO_MANY_FRAMES:
            return errors.TooMany(_sentence(reason), _SHARE_RETRY_AFTER_S)
        case CloseCode.GOING_AWAY | CloseCode.TRY_AGAIN_LATER:
            return errors.Unavailable(_sentence(reason))
        case _:
            return None


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def answer(
    request: picows.WSUpgradeRequest,
    connect: Callable[[Wanted], StreamSession],
    origins: Origins,
) -> StreamSession | Answer:
    """The session that `connect` makes, or a problem. Never raises."""
    allowed = _allowed(request, origins)

    def refuse(error: errors.HlfastError | None) -> Answer:
        if error is None:
            detail = "The server made a mistake; it has been logged."
            return refusal(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, allowed)
        more = {"errors": error.errors} if isinstance(error, errors.Invalid) else {}
        headers = allowed | error_headers(error)
        return refusal(request, STATUS[type(error)], error.detail, headers, **more)

    if request.method == b"OPTIONS" and "access-control-request-method" in request.headers:
        return _preflight(request, allowed)
    if request.method != b"GET":
        detail = f"Only {_ALLOW} is allowed here."
        return refusal(request, HTTPStatus.METHOD_NOT_ALLOWED, detail, allowed | {"Allow": _ALLOW})
    try:
        fields = validate(_Fields, pairs(request.path.partition(b"?")[2], "query"), "query")
        token = bearer(request) or fields.token
        if not token:
            raise errors.Unauthenticated("A bearer token is needed.")
        # What a browser sends of itself is newer than what it was once made to ask for.
        cursor = request.headers.get("last-event-id") or fields.cursor or None
        head = _head({"X-Request-ID": request_id(request), **allowed})
        return connect(Wanted(token, cursor, head, lambda error: _bytes(refuse(error))))
    except errors.HlfastError as error:
        return refuse(error)
    except Exception as error:
        # Not the message: it may hold what the client sent.
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("%s in the request for a stream\n%s", type(error).__name__, where)
        return refuse(None)


def _allowed(request: picows.WSUpgradeRequest, origins: Origins) -> dict[str, str]:
    """What lets a page of another origin, or of our other port, read the answer."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    allowed = origins.allow_of(origin, host) if origin else None
    if allowed is None:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Expose-Headers": EXPOSED.decode(),
    }


def _preflight(request: picows.WSUpgradeRequest, allowed: dict[str, str]) -> Answer:
    headers = {"X-Request-ID": request_id(request), **allowed}
    if "Access-Control-Allow-Origin" in allowed:
        headers |= {
            "Access-Control-Allow-Methods": _ALLOW,
            "Access-Control-Allow-Headers": HEADERS.decode(),
            "Access-Control-Max-Age": str(MAX_AGE_S),
        }
    response = picows.WSUpgradeResponse.create_ok_response(b"", headers)
    response.status = HTTPStatus.NO_CONTENT
    return Answer(response, None)


def _head(headers: dict[str, str]) -> bytes:
    """Without a length: the answer ends when the connection does."""
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-store",
        # Or nginx collects events until they fill a buffer.
        "X-Accel-Buffering": "no",
        "Connection": "close",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1")


def _bytes(made: Answer) -> bytes:
    made.response.headers["Connection"] = "close"
    return bytes(made.response.to_bytes())
