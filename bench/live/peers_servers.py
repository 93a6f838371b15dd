"""The servers that are compared, each behind the same face: publish, connect, ask."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import redis.asyncio as redis

from bench import processes
from bench.live.client import Wrong
from bench.live.world import HUB, NODE_CORE, World
from bench.toolchains import npm_packages
from hl_utils.servers.process import free_port
from hlfast import codec
from hlfast.events.cursor import parse
from hlfast.events.open import open_log
from hlfast.events.publisher import Publisher
from hlfast.settings import Settings

NODE_PEER = Path("bench/peers/node_ws").resolve()
PEER_TABLE = """
CREATE TABLE IF NOT EXISTS peer_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_user_id integer NOT NULL,
    to_user_id integer NOT NULL,
    content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
# Nobody is pinged while it is measured.
QUIET_S = 36_000
Event = Mapping[str, Any]


class Face(Protocol):
    """What differs between the service and the others."""

    def query(self, user: int) -> str:
        """The query of the URL of a user who is subscribed to the author."""

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        """Give events to the server, through Redis, all in one loop turn."""

    def check_cursors(self, events: Sequence[Event], cursors: Sequence[str]) -> None:
        """Hold the frames' cursors against the events. Raises Wrong."""

    def request(self, user: int, content: str) -> bytes:
        """The author writes to a user, over HTTP."""

    async def close(self) -> None:
        """Hang up on Redis."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs. `pid` is the process whose CPU time counts; `face` makes one of it."""

    name: str
    port: int
    http_port: int
    pid: int
    face: Callable[[], Face]


class Ours:
    """The service: events go into its log, as its API publishes them."""

    def __init__(self, world: World, **settings_of_log: str) -> None:
        settings = Settings(redis_url=world.redis_url, **settings_of_log)  # type: ignore[arg-type]
        self._world = world
        self._log = open_log(settings)
        self._publisher = Publisher(self._log, settings)
        self._newest = ""

    def query(self, user: int) -> str:
        return urlencode({"token": self._world.token(user)})

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        return asyncio.gather(*[self._publisher.submit(event) for event in events])

    def check_cursors(self, events: Sequence[Event], cursors: Sequence[str]) -> None:
        """Check that each is a cursor beyond the one before. Raises Wrong."""
        for text in cursors:
            cursor, before = parse(text), parse(self._newest)
            if cursor is None or (before is not None and cursor <= before):
                raise Wrong(f"the cursor {text} after {self._newest}")
            self._newest = text

    def request(self, user: int, content: str) -> bytes:
        path = f"/api/v1/dialogs/{user}/messages"
        token = self._world.token(HUB)
        return _post(path, {"content": content}, f"Authorization: Bearer {token}\r\n")

    async def close(self) -> None:
        await self._publisher.close()
        await self._log.close()


class Peer:
    """A peer: the same events over pub/sub, in one message; each has its cursor from here."""

    def __init__(self, world: World, channel: str) -> None:
        self._channel = channel
        self._client = redis.Redis.from_url(world.redis_url)

    def query(self, user: int) -> str:
        return urlencode({"user": user, "follows": HUB})

    def publish(self, events: Sequence[Event]) -> Awaitable[Any]:
        frames = [event | {"cursor": _cursor(event)} for event in events]
        return asyncio.ensure_future(self._client.publish(self._channel, codec.encode(frames)))

    def check_cursors(self, events: Sequence[Event], cursors: Sequence[str]) -> None:
        if [_cursor(event) for event in events] != list(cursors):
            raise Wrong(f"cursors {cursors[:3]} …")

    def request(self, user: int, content: str) -> bytes:
        return _post("/messages", {"from": HUB, "to": user, "content": content}, "")

    async def close(self) -> None:
        await self._client.aclose()


def _cursor(event: Event) -> str:
    """A cursor as long as one of ours."""
    return f"{'0' * 16}.{event['id']:0>19}.0"


def _post(path: str, body: Mapping[str, Any], headers: str) -> bytes:
    data = codec.encode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


@contextmanager
def ours(world: World) -> Iterator[Server]:
    """A node and an API, both on the servers' core. The node's CPU time counts."""
    with world.node(HLFAST_WS_PING_S=QUIET_S) as node, world.api() as api:
        processes.pin(api.process.pid, NODE_CORE)
        yield Server("hlfast", node.port, api.port, node.process.pid, lambda: Ours(world))


@contextmanager
def starlette(world: World, channel: str, core: int = NODE_CORE) -> Iterator[Server]:
    """peers/starlette_ws on uvicorn, with the websocket protocol that uvicorn takes by default."""
    port = free_port()
    command = (
        f"{sys.executable} -m uvicorn bench.peers.starlette_ws.app:app --port {port} --loop uvloop "
        f"--http httptools --ws auto --ws-ping-interval {QUIET_S} --log-level warning "
        "--ws-per-message-deflate false --no-access-log"
    )
    with _running(world, "Starlette", command, channel, port, core) as server:
        yield server


@contextmanager
def node_ws(world: World, channel: str, send: str, core: int = NODE_CORE) -> Iterator[Server]:
    """peers/node_ws, which sends in one of its ways."""
    port = free_port()
    command = f"node {NODE_PEER / 'server.js'}"
    with _running(world, f"ws {send}", command, channel, port, core, SEND=send) as server:
        yield server


@contextmanager
def _running(
    world: World, name: str, command: str, channel: str, port: int, core: int, **others: str
) -> Iterator[Server]:
    sockets = world.postgres.home.sockets
    environment = {
        "PORT": str(port),
        "PGHOST": str(sockets),
        "PGUSER": "hlfast",
        "PGDATABASE": "bench",
        "REDIS_SOCKET": world.redis_url.removeprefix("unix://"),
        "CHANNEL": channel,
        "NODE_ENV": "production",
        **others,
    }
    log = world.postgres.home.logs / f"{name.replace(' ', '-')}.log"
    argv = command.split()
    with processes.server(argv, environment, port=port, core=core, log=log) as pid:
        yield Server(name, port, port, pid, lambda: Peer(world, channel))


def install_node_peer() -> dict[str, str]:
    """`npm ci`, unless that is done. Gives the versions of what runs. Raises MissingProgram."""
    return npm_packages(NODE_PEER, ("ws", "redis", "pg"))
