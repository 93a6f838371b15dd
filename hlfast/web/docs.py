"""Where the docs are. What makes them, `web.openapi`, is loaded when somebody first asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hlfast import VERSION
from hlfast.web.edge import Foreign
from hlfast.web.endpoint import Endpoint

# What both documents say of the service: OpenAPI's and AsyncAPI's `info`.
INFO: Mapping[str, Any] = {
    "title": "hlfast",
    "version": VERSION,
    "contact": {"name": "The hlfast authors"},
    # AsyncAPI 3.0 knows no SPDX identifier.
    "license": {"name": "MIT", "url": "https://spdx.org/licenses/MIT.html"},
}
ASSETS = "/static-offline-docs"


def routes(endpoints: Sequence[Endpoint]) -> list[BaseRoute]:
    """Routes of /docs, /redoc and /openapi.json, and of their assets."""
    shim = _Shim(endpoints)
    pages = Foreign(shim.page)
    return [
        *(Route(path, pages) for path in ("/docs", "/docs/oauth2-redirect", "/redoc")),
        Route("/openapi.json", pages),
        Mount(ASSETS, Foreign(shim.asset)),
    ]


class _Shim:
    """FastAPI's application and its assets, each an ASGI application, made when first asked for."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._making = asyncio.Lock()
        self._made: tuple[ASGIApp, ASGIApp] | None = None

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a page of the docs, or with the schema: ASGI, http only."""
        app, _ = await self._parts()
        await app(scope, receive, send)

    async def asset(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file that the pages load: ASGI, http only. Raises HTTPException."""
        _, app = await self._parts()
        await app(scope, receive, send)

    async def _parts(self) -> tuple[ASGIApp, ASGIApp]:
        async with self._making:
            if self._made is None:
                # Half a second, in which the loop serves.
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> tuple[ASGIApp, ASGIApp]:
        from hlfast.web import openapi  # noqa: PLC0415 (a start is a third cheaper without it and aio_pika)

        shim = openapi.documentation(self._endpoints, INFO, ASSETS)
        assets = next(route for route in shim.routes if isinstance(route, Mount))
        return shim, assets.app
