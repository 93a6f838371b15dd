"""Websockets as most people would write them fast in Python: Starlette on uvicorn with uvloop.

Connections in dicts of this process, events from Redis pub/sub, a frame encoded once by orjson.
Only what `bench.live.peers` asks for is here: nobody's token is looked at, nothing is replayed.
Run by uvicorn in one process; read from the environment: PGHOST, PGUSER, PGDATABASE, REDIS_SOCKET
(its path), CHANNEL.

A message on the channel is a JSON array of events: `type`, `cursor`, `id`, `data`, and `author`
(whose followers are told) or `to` (users). `/ws?user=5&follows=7` is a user who follows an author.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import orjson
import redis.asyncio as redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

CHANNEL = os.environ["CHANNEL"]
INSERT = """
INSERT INTO peer_message (from_user_id, to_user_id, content) VALUES ($1, $2, $3)
RETURNING id, created_at
"""

of_user: dict[int, set[WebSocket]] = {}
of_author: dict[int, set[WebSocket]] = {}


async def listen(websocket: WebSocket) -> None:
    """A client, for as long as it is connected."""
    await websocket.accept()
    rooms = (
        of_user.setdefault(int(websocket.query_params["user"]), set()),
        of_author.setdefault(int(websocket.query_params["follows"]), set()),
    )
    for room in rooms:
        room.add(websocket)
    await websocket.send_text('{"type":"hello"}')
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        for room in rooms:
            room.discard(websocket)


async def deliver(events: Iterable[dict[str, Any]]) -> None:
    """Tell those whom it concerns.

    One `await` after the other: they do not wait unless a buffer is full. `asyncio.gather` makes a
    task of each of them, which cost more than twice as much.
    """
    for event in events:
        frame = {
            "type": event["type"],
            "cursor": event["cursor"],
            "event_id": event["id"],
            **event["data"],
        }
        # One ASGI message for all: what `send_text` would make for each.
        message = {"type": "websocket.send", "text": orjson.dumps(frame).decode()}
        if "author" in event:
            recipients = list(of_author.get(event["author"], ()))
        else:
            recipients = [one for user in event["to"] for one in of_user.get(user, ())]
        for websocket in recipients:
            # Whoever is gone meanwhile leaves its rooms by itself.
            with suppress(WebSocketDisconnect, RuntimeError):
                await websocket.send(message)


async def follow(client: redis.Redis) -> None:
    """Deliver what comes on the channel."""
    async with client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(CHANNEL)
        async for message in channel.listen():
            await deliver(orjson.loads(message["data"]))


async def send_message(request: Request) -> Response:
    """Store a message, tell its recipient, answer 201."""
    state = request.app.state
    body = orjson.loads(await request.body())
    row = await state.pool.fetchrow(INSERT, body["from"], body["to"], body["content"])
    message = {
        "id": row["id"],
        "from_user_id": body["from"],
        "to_user_id": body["to"],
        "content": body["content"],
        "client_id": None,
        "created_at": row["created_at"],
        "read": False,
    }
    event = {
        "id": f"m{row['id']}",
        "type": "message.created",
        "cursor": str(row["id"]),
        "to": [body["to"]],
        "data": {"message": message},
    }
    await state.redis.publish(CHANNEL, orjson.dumps([event]))
    return Response(orjson.dumps(message), 201, media_type="application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Pool and Redis, and the task that follows the channel."""
    client = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])
    async with asyncpg.create_pool(min_size=8, max_size=8) as pool, client:
        app.state.pool, app.state.redis = pool, client
        following = asyncio.create_task(follow(client))
        yield
        following.cancel()


app = Starlette(
    routes=[
        WebSocketRoute("/ws", listen),
        Route("/messages", send_message, methods=["POST"]),
    ],
    lifespan=lifespan,
)
