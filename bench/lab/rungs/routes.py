"""Starlette's routes, requests and responses, without FastAPI's dependencies and models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from bench.lab.rungs import store
from bench.lab.rungs.handlers import HANDLERS, Call, Handler, refusal
from bench.lab.rungs.store import Refused


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Connections to the database for as long as the process serves."""
    async with store.opened() as connection:
        yield {"connection": connection}


def endpoint(handler: Handler) -> Any:
    """A handler as Starlette calls it."""

    async def answer(request: Request) -> Response:
        call = Call(
            request.path_params.get("user_id", ""),
            request.query_params,
            request.headers.get("authorization", ""),
            await request.body(),
        )
        try:
            async with request.state.connection() as fetch:
                status, body = await handler(fetch, call)
        except Refused as error:
            status, body = refusal(error)
        return Response(body, status, media_type="application/json")

    return answer


app = Router(
    [
        Route(path, endpoint(handler), methods=[method])
        for (method, path), handler in HANDLERS.items()
    ],
    lifespan=lifespan,
)
