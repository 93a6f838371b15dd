"""Plain ASGI: a look into a dictionary instead of routes, no request and no response object."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from bench.lab.rungs import store
from bench.lab.rungs.handlers import HANDLERS, Call, refusal
from bench.lab.rungs.store import Refused

_JSON = (b"content-type", b"application/json")
# The id is the fourth part of a path, as in /api/v1/users/{user_id}.
_PLACE = 4


class Service:
    """ASGI. The connections are opened by the lifespan's start and closed by its end."""

    def __init__(self) -> None:
        self._connection: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        status, body = await self._answer(scope, receive)
        headers = [_JSON, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        method, path, user_id = scope["method"], scope["path"], ""
        handler = HANDLERS.get((method, path))
        if handler is None:
            parts = path.split("/")
            if len(parts) > _PLACE:
                user_id, parts[_PLACE] = parts[_PLACE], "{user_id}"
            handler = HANDLERS.get((method, "/".join(parts)))
            if handler is None:
                return refusal(Refused(404, "Not Found"))
        authorization = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        text = scope["query_string"]
        query = dict(parse_qsl(text.decode())) if text else {}
        body = b"" if method == "GET" else await _body(receive)
        try:
            async with self._connection() as fetch:
                return await handler(fetch, Call(user_id, query, authorization.decode(), body))
        except Refused as error:
            return refusal(error)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with store.opened() as self._connection:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


app = Service()
