"""What is asked of each server, and how its frames are checked and timed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.live.client import Wrong, event_id
from bench.live.peers_listener import WEBSOCKET, Audience, Listener, Wire, asker
from bench.live.peers_servers import Event, Face, Server
from bench.live.world import HUB, NODE_CORE, share
from bench.processes import core_busy_s, run_s
from hlfast import codec

SOCKETS = 1000
BURST = 100
# Between two events. Longer than the joining delay, so that each frame is written for itself.
PAUSE_S = 0.008
RECIPIENTS = 20
CONTENT_BYTES = 100
CREATED_AT = "2026-01-01T00:00:00Z"

ONE_TO_ALL = f"1 event to {SOCKETS:,} sockets"
ONE_TO_ONE = f"1 event to 1 of {SOCKETS:,} sockets"
HTTP = "a message over HTTP"
BURSTS = f"{BURST} events to {SOCKETS:,} sockets"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A window of deliveries. Latencies are from publishing to a frame, all sockets."""

    scene: str
    server: str
    number: int
    frames: int
    frames_per_cpu_s: float
    cpu_us_per_frame: float
    p50_ms: float
    p99_ms: float
    others_on_server_core: float
    load_busy: float


@dataclass(frozen=True, slots=True)
class HttpToFrame:
    """A window of messages over HTTP, one at a time. Milliseconds, p50 and p99.

    `frame_after_201` is below zero where the frame was there before the answer.
    """

    server: str
    number: int
    messages: int
    answer_p50_ms: float
    answer_p99_ms: float
    frame_p50_ms: float
    frame_p99_ms: float
    frame_after_201_p50_ms: float
    frame_after_201_p99_ms: float


@dataclass
class Contender:
    """A server with its sockets connected."""

    server: Server
    face: Face
    wire: Wire = WEBSOCKET
    audience: Audience = field(init=False)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.audience = Audience(self.wire.request)

    async def connect(self, sockets: int) -> None:
        """Users 1, 2, 3 …, who all follow the same author."""
        users = range(1, sockets + 1)
        await self.audience.open(self.server.port, [self.face.query(user) for user in users])

    async def settled(self) -> None:
        """Nothing comes late or twice. Raises Wrong."""
        await asyncio.sleep(0.2)
        for listener in self.audience.listeners:
            if listener.received:
                raise Wrong(f"{self.server.name} sent more: {bytes(listener.received[:300])!r}")

    async def close(self) -> None:
        """Close the connection to the peer."""
        self.audience.close()
        await self.face.close()


class Meter:
    """CPU times since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = self._now()

    def _now(self) -> tuple[float, ...]:
        load = time.process_time()
        return time.perf_counter(), run_s(self._pid), core_busy_s(NODE_CORE), load

    def read(self) -> tuple[float, float, float]:
        """The server's in seconds; shares of others on its core and of the load on its own."""
        wall, mine, busy, load = (b - a for a, b in zip(self._start, self._now(), strict=True))
        return mine, max(0.0, busy - mine) / wall, load / wall


def post(number: int) -> Event:
    """A new post of the author."""
    post = {
        "id": number,
        "author_id": HUB,
        "content": "x" * CONTENT_BYTES,
        "privacy": "public",
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
    }
    event = {"id": event_id(number), "type": "post.created", "author": HUB}
    return event | {"data": {"post": post}}


def message(number: int, to: int) -> Event:
    """A new message to a user."""
    message = {
        "id": number,
        "from_user_id": HUB,
        "to_user_id": to,
        "content": "x" * CONTENT_BYTES,
        "client_id": None,
        "created_at": CREATED_AT,
        "read": False,
    }
    event = {"id": event_id(number), "type": "message.created", "to": [to]}
    return event | {"data": {"message": message}}


def _frame(event: Event, cursor: str) -> bytes:
    head = {"type": event["type"], "cursor": cursor, "event_id": event["id"]}
    return codec.encode(head | event["data"])


def frame_bytes() -> int:
    """Bytes of a post's frame with its header; the cursor is as long as those of the log."""
    return len(_frame(post(1), "0" * 37)) + 4


async def deliver(
    contender: Contender, events: Sequence[Event], readers: Sequence[Listener]
) -> list[float]:
    """Publish events at once; the seconds until each reader had all of them.

    Raises Wrong unless every reader gets every frame once, in order, and nobody else anything.
    """
    audience, face = contender.audience, contender.face
    end = _frame(events[-1], "").partition(b'"event_id"')[2] + contender.wire.end
    audience.expect(len(readers), lambda received: received.endswith(end))
    sent = time.perf_counter()
    published = face.publish(events)
    await audience.arrived()
    await published
    late = [listener.at - sent for listener in readers]
    first = readers[0].received
    _check(contender, events, first)
    if any(listener.received != first for listener in readers):
        raise Wrong(f"{contender.server.name}: two sockets got different bytes")
    if sum(bool(listener.received) for listener in audience.listeners) != len(readers):
        raise Wrong(f"{contender.server.name} sent to somebody whom it does not concern")
    audience.clear()
    return late


def _check(contender: Contender, events: Sequence[Event], received: bytes | bytearray) -> None:
    found = contender.wire.texts(received)
    cursors = [codec.decode(text)["cursor"] for text in found]
    wanted = [_frame(event, cursor) for event, cursor in zip(events, cursors, strict=False)]
    if found != wanted or len(found) != len(events):
        raise Wrong(f"{contender.server.name} sent {len(found)} frames: {found[:1]}")
    contender.face.check_cursors(events, cursors)


# What is published next, and to whom.
Next = Callable[[Contender], tuple[Sequence[Event], Sequence[Listener]]]


def _one_to_all(contender: Contender) -> tuple[Sequence[Event], Sequence[Listener]]:
    return [post(next(contender.numbers))], contender.audience.listeners


def _one_to_one(contender: Contender) -> tuple[Sequence[Event], Sequence[Listener]]:
    number = next(contender.numbers)
    listeners = contender.audience.listeners
    user = number % len(listeners) + 1
    return [message(number, user)], [listeners[user - 1]]


def _burst(contender: Contender) -> tuple[Sequence[Event], Sequence[Listener]]:
    events = [post(next(contender.numbers)) for _ in range(BURST)]
    return events, contender.audience.listeners


SCENES: dict[str, Next] = {ONE_TO_ALL: _one_to_all, ONE_TO_ONE: _one_to_one, BURSTS: _burst}


async def window(contender: Contender, scene: str, number: int, seconds: float) -> Delivery:
    """Deliveries one after the other, for about so long. Raises Wrong."""
    frames, late = 0, []
    meter, end = Meter(contender.server.pid), time.perf_counter() + seconds
    while time.perf_counter() < end:
        events, readers = SCENES[scene](contender)
        late += await deliver(contender, events, readers)
        frames += len(events) * len(readers)
        await asyncio.sleep(PAUSE_S)
    cpu_s, others, load = meter.read()
    await contender.settled()
    return Delivery(
        scene=scene,
        server=contender.server.name,
        number=number,
        frames=frames,
        frames_per_cpu_s=frames / cpu_s,
        cpu_us_per_frame=cpu_s / frames * 1e6,
        p50_ms=share(late, 0.5) * 1e3,
        p99_ms=share(late, 0.99) * 1e3,
        others_on_server_core=others,
        load_busy=load,
    )


async def http_to_frame(contender: Contender, number: int, seconds: float) -> HttpToFrame:
    """Messages over HTTP to the recipient's frame, one at a time. Raises Wrong."""
    audience = contender.audience
    asking = await asker(contender.server.http_port)
    answers, frames, after = [], [], []
    end = time.perf_counter() + seconds
    for count in itertools.count():
        if time.perf_counter() > end:
            break
        user = count % min(RECIPIENTS, len(audience.listeners)) + 1
        reader = audience.listeners[user - 1]
        content = f"m{next(contender.numbers):09}".ljust(CONTENT_BYTES, "x")
        mark = content.encode()
        audience.expect(1, lambda received, mark=mark: mark in received)
        request = contender.face.request(user, content)
        sent = time.perf_counter()
        answered, body = await asking.ask(request)
        await audience.arrived()
        answers.append(answered - sent)
        frames.append(reader.at - sent)
        after.append(reader.at - answered)
        # The frame brings just what was acknowledged.
        received, stored = (
            [codec.decode(text) for text in contender.wire.texts(reader.received)],
            codec.decode(body),
        )
        if [one["message"] for one in received] != [stored] or stored["content"] != content:
            raise Wrong(f"{contender.server.name}: {stored} was sent as {received}")
        audience.clear()
        await asyncio.sleep(PAUSE_S)
    asking.close()
    await contender.settled()
    return HttpToFrame(
        contender.server.name,
        number,
        len(answers),
        *[share(found, part) * 1e3 for found in (answers, frames, after) for part in (0.5, 0.99)],
    )
