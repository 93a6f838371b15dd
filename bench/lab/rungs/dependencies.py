"""FastAPI as most people write it, but with plain SQL: dependencies, models, a middleware or two.

`orjson` answers bytes that orjson made instead of response models. What is often advised instead is
here, too: `orjson-response`, `no-response-model`, `def-dependency`, `gzip`, `redis-cache`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Path, Query, Request, Response
from fastapi.responses import JSONResponse, ORJSONResponse
from fastapi.security import OAuth2PasswordBearer
from redis.asyncio import Redis
from starlette.middleware.gzip import GZipMiddleware

from bench.lab.rungs import sessions, store
from bench.lab.rungs.store import ID_MAX, METHODS, Fetch, Refused
from bench.peers.fastapi.models import MessageIn, MessageOut, Page, PostOut, TokensOut, UserOut
from hlfast import codec

# What is said against it is what the lab measures.
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
_CACHED_S = 60
BYTES, VALUES = "orjson" in METHODS, "no-response-model" in METHODS


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connections to the database for as long as the process serves."""
    async with store.opened() as connection:
        app.state.connection = connection
        yield


async def fetching(request: Request) -> AsyncIterator[Fetch]:
    """What this request reads by."""
    async with request.app.state.connection() as fetch:
        yield fetch


def checked() -> None:
    """Nothing, in a thread: FastAPI runs what is no coroutine in its pool of threads."""


bearer = OAuth2PasswordBearer("/api/v1/login")
Fetching = Annotated[Fetch, Depends(fetching)]


async def current_user(token: Annotated[str, Depends(bearer)], fetch: Fetching) -> int:
    """The caller's id; 401 for a token that is not good."""
    return await store.caller(fetch, token)


Me = Annotated[int, Depends(current_user)]
UserId = Annotated[int, Path(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]
Before = Annotated[int, Query(ge=1, le=ID_MAX)]
After = Annotated[int, Query(ge=0, le=ID_MAX)]
api = APIRouter(
    prefix="/api/v1", dependencies=[Depends(checked)] if "def-dependency" in METHODS else []
)


def model(of: Any) -> Any:
    """The response model, where there are any."""
    return None if BYTES or VALUES else of


def answer(found: dict[str, Any], status: int = 200) -> Any:
    """The response of a handler."""
    if BYTES:
        return Response(codec.encode(found), status, media_type="application/json")
    return _plain(found) if VALUES else found


def _plain(value: Any) -> Any:
    """What needs no model to become JSON: times as texts."""
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            return value


@api.post("/login")
async def login(
    username: Annotated[str, Form()], password: Annotated[str, Form()], fetch: Fetching
) -> TokensOut:
    """POST /login"""
    return TokensOut(**await sessions.log_in(fetch, username, password))


@api.get("/users/search", response_model=model(Page[UserOut]))
async def search_users(
    fetch: Fetching,
    first_name: str = "",
    last_name: str = "",
    after: After = 0,
    limit: Limit = 20,
) -> Any:
    """GET /users/search"""
    return answer(await store.search(fetch, first_name, last_name, after, limit))


@api.get("/users/{user_id}", response_model=model(UserOut))
async def get_user(user_id: UserId, fetch: Fetching) -> Any:
    """GET /users/{user_id}"""
    return answer(await store.user(fetch, user_id))


@api.get("/feed", response_model=model(Page[PostOut]))
async def get_feed(me: Me, fetch: Fetching, limit: Limit = 20) -> Any:
    """GET /feed"""
    return answer(await store.feed(fetch, me, limit))


@api.get("/dialogs/{user_id}/messages", response_model=model(Page[MessageOut]))
async def get_messages(
    user_id: UserId, me: Me, fetch: Fetching, before: Before = ID_MAX, limit: Limit = 20
) -> Any:
    """GET /dialogs/{user_id}/messages"""
    return answer(await store.messages(fetch, me, user_id, before, limit))


@api.post("/dialogs/{user_id}/messages", status_code=201, response_model=model(MessageOut))
async def send_message(
    user_id: UserId, body: MessageIn, me: Me, fetch: Fetching, response: Response
) -> Any:
    """POST /dialogs/{user_id}/messages"""
    sent, is_new = await store.send(fetch, me, user_id, body.content, body.client_id)
    response.status_code = 201 if is_new else 200
    return answer(sent, response.status_code)


app = FastAPI(
    title="A rung",
    lifespan=lifespan,
    default_response_class=ORJSONResponse if "orjson-response" in METHODS else JSONResponse,
)
app.include_router(api)


@app.exception_handler(Refused)
async def refuse(_: Request, error: Refused) -> JSONResponse:
    """Answer with an error."""
    return JSONResponse({"detail": error.detail}, error.status)


if "gzip" in METHODS:
    app.add_middleware(GZipMiddleware, minimum_size=500)
if "redis-cache" in METHODS:
    redis = Redis.from_url(os.environ["REDIS_URL"])

    @app.middleware("http")
    async def cached(request: Request, go_on: Any) -> Response:
        """Answers of a minute ago, whatever has changed since."""
        if request.method != "GET":
            return await go_on(request)
        key = f"{request.url.path}?{request.url.query} {request.headers.get('authorization')}"
        if (body := await redis.get(key)) is not None:
            return Response(body, media_type="application/json")
        response = await go_on(request)
        body = b"".join([part async for part in response.body_iterator])
        if response.status_code == 200:
            await redis.set(key, body, ex=_CACHED_S)
        return Response(body, response.status_code, dict(response.headers))
