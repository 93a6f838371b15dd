"""A line in the log for every request, where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hlfast.addresses import Network
from hlfast.logs import ACCESS, named
from hlfast.web.request import SCOPE_KEY, client_address


class AccessLog:
    """Wraps the edge. No query string is written: it may hold what is nobody's business."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http and lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            head = scope[SCOPE_KEY]
            ACCESS.info(
                "request",
                extra=named(
                    request_id=head.request_id.decode(),
                    address=str(client_address(scope, head, self._trusted) or ""),
                    method=scope["method"],
                    # As it came: it may be anything once it is decoded.
                    path=quote(scope["path"]),
                    status=status,
                    duration_s=round(time.perf_counter() - started, 6),
                ),
            )
