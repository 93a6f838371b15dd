"""A GET without input, for operators and readers of the docs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from hlfast.web.problems import MethodNotAllowed
from hlfast.web.request import SCOPE_KEY

# HAProxy's checks tell an API from a websocket node by it.
SERVER = b"hlfast-api"
# Gives status, content type and body.
Answer = Callable[[], Awaitable[tuple[int, bytes, bytes]]]


class PlainGet:
    """The ASGI application of one such GET."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http only. Raises MethodNotAllowed."""
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("GET, HEAD")
        status, content_type, body = await self._answer()
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"server", SERVER),
            (b"x-request-id", scope[SCOPE_KEY].request_id),
        ]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
