"""The outermost ASGI layer: reads the head, turns whatever goes wrong into a problem."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hlfast import errors, trace
from hlfast.logs import named
from hlfast.web.admission import NEVER_REFUSED, AdmissionControl
from hlfast.web.problems import MethodNotAllowed, send_problem
from hlfast.web.request import SCOPE_KEY, RequestIds, read_head

logger = logging.getLogger(__name__)
NOTHING_HERE = "There is nothing here: see /docs, and /asyncapi for the websocket."


class Edge:
    """Wraps the router. Every response bears X-Request-ID: endpoints write it themselves."""

    def __init__(self, app: ASGIApp, admission: AdmissionControl) -> None:
        self._app = app
        self._admission = admission
        self._under_way = admission.under_way
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: lifespan and http; websockets live in another process."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope[SCOPE_KEY] = read_head(scope, self._request_ids)
        if head.traceparent is not None:
            trace.CURRENT.set(trace.take_up(head.traceparent))
        admission, under_way = self._admission, self._under_way
        counted = 0 if scope["path"].startswith(NEVER_REFUSED) else 1
        under_way[head] = scope["client"]
        try:
            if counted and admission.in_progress >= admission.requests_max:
                # What is refused is not in progress.
                counted = 0
                await admission.refuse(scope, send, head)
                return
            if scope["method"] != "GET":
                receive = admission.body_of(receive, head)
            admission.in_progress += counted
            await self._app(scope, receive, send)
        except (errors.HlfastError, MethodNotAllowed) as error:
            await send_problem(scope, receive, send, head, error)
        except Exception as error:  # the last line of defence: it logs and answers
            logger.exception("Request failed", extra=named(request_id=head.request_id.decode()))
            await send_problem(scope, receive, send, head, error)
        finally:
            admission.in_progress -= counted
            del under_way[head]


# The docs work without internet, and do not even try to reach it (Redoc would fetch a logo). From
# the page's console the websocket may be tried, which is on another port.
_FROM_HERE = (
    b"default-src 'self'; connect-src 'self' ws: wss:; "
    b"img-src 'self' data:; worker-src 'self' blob:; "
    b"script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"frame-ancestors 'none'; base-uri 'none'"
)


class Foreign:
    """A foreign application that serves files (the docs), with our X-Request-ID and errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http only. Raises MethodNotAllowed, errors.NotFound."""
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("GET, HEAD")
        request_id = scope[SCOPE_KEY].request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id),
                    (b"content-security-policy", _FROM_HERE),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except (HTTPException, ValueError):  # ValueError: no path of any file, NUL in it
            raise errors.NotFound(NOTHING_HERE) from None


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The router's answer to a path that nobody serves."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    raise errors.NotFound(NOTHING_HERE)
