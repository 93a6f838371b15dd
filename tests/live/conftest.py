"""An API and two nodes, shared: tests take users of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from bench.ledger.frames import Frame
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import SECRET, Api, Node
from hl_utils.servers.sql import SqlServer
from tests import wire
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.nodes import Receiver, Socket, Stream

# Short, and yet long beside what a busy machine may be late by.
NODE: dict[str, float] = {
    "HLFAST_PRESENCE_HEARTBEAT_S": 0.5,
    "HLFAST_PRESENCE_GRACE_S": 2,
    "HLFAST_PRESENCE_JOIN_S": 0.05,
    "HLFAST_REVOCATION_CHECK_S": 0.2,
    "HLFAST_EVENTS_RETRY_S": 0.1,
    # A hundred connect at once, from one process that may get little of a busy machine.
    "HLFAST_WS_HANDSHAKE_TIMEOUT_S": 60,
}
API: dict[str, float] = {
    "HLFAST_OUTBOX_SWEEP_S": 0.2,
    "HLFAST_OUTBOX_AGE_S": 1,
    "HLFAST_EVENTS_TIMEOUT_S": 2,
    "HLFAST_EVENTS_RETRY_S": 0.1,
}


# Messages of 16 KiB: more than the kernel's buffers hold for a socket that nobody reads.
BUFFERED_MAX = 400


@dataclass
class Live:
    """The servers, and people who look at them."""

    api: Api
    nodes: list[Node]
    herald: Client
    sockets: list[Socket] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    def user(self) -> Client:
        """A new user, logged in."""
        with Client(self.api.url) as anybody:
            return anybody.user()

    def socket(self, user: Client, node: int = 0, cursor: str | None = None) -> Socket:
        """A socket of a user, closed after the test."""
        socket = Socket(self.nodes[node].ws_url, token(user), cursor)
        self.sockets.append(socket)
        return socket

    def stream(self, user: Client, node: int = 0, cursor: str = "") -> Stream:
        """An event stream of theirs, before its hello, closed after the test."""
        more = {"Last-Event-ID": cursor} if cursor else {}
        stream = Stream(self.nodes[node].port, Authorization=f"Bearer {token(user)}", **more)
        self.streams.append(stream)
        return stream

    def seen(self, user: Client, *sockets: Receiver) -> list[list[Frame]]:
        """What came over each of a user's connections since the last look, presence apart.

        Everything up to now: the herald's message comes after it.
        """
        message = self.herald.send_to(user, "That was all.")
        return [socket.until(lambda frame: frame.get("message") == message) for socket in sockets]


def token(user: Client) -> str:
    """What the user's requests bear."""
    return user.headers["authorization"].removeprefix("Bearer ")


def send_until_behind(writer: Client, user: Client, healthy: Socket, node: Node) -> int:
    """Messages until another reader of theirs is behind, and one more, over the bound. How many.

    The reader is closed then, and has five seconds to read why: whoever sends a fixed number is
    late on a busy machine.
    """

    def send() -> None:
        # 16 KiB.
        sent = writer.send_to(user, "\U0001f600" * 4096)
        assert healthy.next()["message"] == sent

    for number in range(1, BUFFERED_MAX):
        send()
        if b"\nhlfast_ws_readers_behind 1.0\n" in wire.get(node.url, b"/metrics").body:
            send()
            return number + 1
    raise AssertionError("nobody is behind")


def signed(user: Client, **claims: Any) -> str:
    """A token of the user's with other claims than the API would give."""
    return jwt.encode(jwt.decode(token(user), SECRET, ["HS256"]) | claims, SECRET, "HS256")


@pytest.fixture(scope="session")
def stack(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Live]:
    """One API, two nodes, of which the first has the laboratory."""
    servers = new_database(database_server, TEMPLATE), redis_server.url
    name = {"HLFAST_EVENTS_NAME": "live"}
    with (
        Api(*servers, **API, **name) as api,
        Node(*servers, **NODE, **name, HLFAST_LAB=True) as one,
        Node(*servers, **NODE, **name) as other,
        Client(api.url) as anybody,
    ):
        yield Live(api, [one, other], anybody.user())


@pytest.fixture
def live(stack: Live) -> Iterator[Live]:
    """The API and the nodes, without the connections of the test before."""
    yield stack
    for socket in stack.sockets:
        socket.connection.close()
    for stream in stack.streams:
        stream.__exit__()
    stack.sockets.clear()
    stack.streams.clear()
