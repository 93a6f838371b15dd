"""What a node tells Prometheus is what happened to it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from hlfast import codec
from hlfast.events.cursor import parse
from hlfast.events.open import open_log
from hlfast.settings import Settings
from tests import wire
from tests.clients import PASSWORD, Client
from tests.conftest import TEMPLATE, new_database
from tests.live.conftest import API, NODE, Live, signed, token
from tests.nodes import Socket
from tests.websocket.raw_client import CLOSE, Peer, close, text

NAME = {"HLFAST_EVENTS_NAME": "measured"}
CONNECTIONS_MAX = 6
LIMITS = {
    "HLFAST_WS_QUEUE_BYTES_MAX": 65_536,
    "HLFAST_WS_CONNECTIONS_MAX": CONNECTIONS_MAX,
    "HLFAST_PRESENCE_GRACE_S": 0.1,
}
Series = dict[str, float]


@pytest.fixture(scope="module")
def measured(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Live]:
    """An API and a node that nobody else uses: what is counted is of these tests."""
    servers = new_database(postgres_server, TEMPLATE), redis_server.url
    with (
        Api(*servers, **API, **NAME) as api,
        Node(*servers, **NODE | LIMITS, **NAME) as node,
        Client(api.url) as anybody,
    ):
        yield Live(api, [node], anybody.user())


@pytest.fixture
def live(measured: Live) -> Iterator[Live]:
    """The measured node, with no socket open."""
    wait_until(lambda: scrape(measured)["hlfast_ws_sockets"] == 0, "sockets stay open")
    yield measured
    for socket in measured.sockets:
        socket.connection.close()
    measured.sockets.clear()
    for stream in measured.streams:
        stream.__exit__()
    measured.streams.clear()


def scrape(live: Live, node: int = 0) -> Series:
    """Every series by its name and labels."""
    answer = wire.get(live.nodes[node].url, b"/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", answer.body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found if not name.endswith("_created")}


class Since:
    """How far the series of a node grew."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._before = scrape(live)

    def __call__(self, name: str) -> float:
        return self.all()[name]

    def all(self) -> Series:
        """Those that changed, and those asked for that did not."""
        now = scrape(self._live)
        return Changes({name: now[name] - self._before.get(name, 0) for name in now})

    def soon(self, name: str, growth: float) -> None:
        """Wait until it grew so far."""
        wait_until(lambda: self.all()[name] >= growth, f"{name} did not grow")
        assert self.all()[name] == growth


class Changes(Series):
    """A series that is not there yet has not changed."""

    def __missing__(self, name: str) -> float:
        return 0.0


def closes(code: object) -> str:
    return f'hlfast_ws_closes_total{{code="{code}"}}'


def events(kind: str) -> str:
    return f'hlfast_ws_events_total{{kind="{kind}"}}'


def test_sockets_users_frames_and_writes(live: Live) -> None:
    me, other = live.user(), live.user()
    since = Since(live)
    mine = [live.socket(me), live.socket(me)]
    others = live.socket(other)
    assert scrape(live)["hlfast_ws_sockets"] == 3
    assert scrape(live)["hlfast_ws_users"] == 2
    assert scrape(live)["hlfast_ws_users_online"] == 2
    assert since("hlfast_ws_frames_total") == 3
    message = me.send_to(other)
    for socket in (*mine, others):
        assert socket.next()["message"] == message
    assert since("hlfast_ws_frames_total") == 6
    assert since("hlfast_ws_writes_total") == 6
    with Peer(live.nodes[0].port, f"/ws?token={token(other)}") as peer:
        peer.frame()
        # Read at once, so answered at once.
        peer.send(text("{}") * 5)
        assert [peer.frame() is not None for _ in range(5)] == [True] * 5
    assert since("hlfast_ws_frames_total") == 12
    assert since("hlfast_ws_writes_total") == 8
    mine[0].connection.close()
    mine[1].connection.close()
    wait_until(lambda: scrape(live)["hlfast_ws_sockets"] == 1, "closed sockets are counted")
    assert scrape(live)["hlfast_ws_users"] == 1
    wait_until(lambda: scrape(live)["hlfast_ws_users_online"] == 1, "who left is counted")


def test_the_tail(live: Live) -> None:
    me, other = live.user(), live.user()
    since = Since(live)
    with Peer(live.nodes[0].port, f"/ws?token={token(me)}") as peer:
        peer.frame()
        me.send_to(other, "x" * 200)
        _, payload = peer.frame() or (0, b"")
        assert isinstance(payload, bytes)
        assert 126 <= len(payload) < 65536
        assert since("hlfast_ws_tail_events") == 1
        assert len(payload) + 4 < since("hlfast_ws_tail_bytes") < len(payload) + 4000


LAG = "hlfast_ws_event_lag_seconds"


def test_lag_of_what_concerns_somebody_here(live: Live) -> None:
    me, other, nobody = live.user(), live.user(), live.user()
    socket = live.socket(me)
    since, began = Since(live), time.time()
    other.send_to(nobody)
    for _ in range(3):
        other.send_to(me)
        socket.next()
    assert since(events("new")) == 4
    since.soon(f"{LAG}_count", 3)
    assert 0 < since(f"{LAG}_sum") < time.time() - began
    assert since(f'{LAG}_bucket{{le="+Inf"}}') == 3


def publish(live: Live, *entries: Any) -> None:
    """Put entries into the log that the API would not write so."""
    settings = Settings(
        redis_url=live.nodes[0].settings["REDIS_URL"], events_name=NAME["HLFAST_EVENTS_NAME"]
    )

    async def run() -> None:
        log = open_log(settings)
        for entry in entries:
            await log.publish(codec.encode(entry))
        await log.close()

    asyncio.run(run())


def received(user: Client, number: int) -> dict[str, Any]:
    """An event of the log that concerns one user."""
    data = {"user_id": user.id, "peer_id": user.id, "up_to": number}
    return {"id": f"made-{user.id}-{number}", "type": "message.read", "to": [user.id], "data": data}


def test_lag_is_since_the_submission_and_never_negative(live: Live) -> None:
    me = live.user()
    socket = live.socket(me)
    since = Since(live)
    publish(live, {"since": time.time() - 30, "events": [received(me, 1), received(me, 2)]})
    since.soon(f"{LAG}_count", 1)
    assert 30 <= since(f"{LAG}_sum") < 60
    assert since(f'{LAG}_bucket{{le="10.0"}}') == 0
    assert since(f'{LAG}_bucket{{le="60.0"}}') == 1
    since = Since(live)
    publish(live, {"since": time.time() + 3600, "events": [received(me, 3)]})
    since.soon(f"{LAG}_count", 1)
    assert since(f"{LAG}_sum") == 0
    assert since(f'{LAG}_bucket{{le="0.001"}}') == 1
    assert [socket.next()["up_to"] for _ in range(3)] == [1, 2, 3]


def posted(author: Client, number: int) -> dict[str, Any]:
    """An event of the log that concerns the friends of one user: a post was deleted."""
    data = {"post_id": number}
    event = {"id": f"post-{author.id}-{number}", "type": "post.deleted", "author": author.id}
    return event | {"data": data}


def test_an_entry_with_many_events_is_one_write_in_the_order_of_the_log(live: Live) -> None:
    """Of several authors, alternating or not, with other events between them, on either wire."""
    me, one, other = live.user(), live.user(), live.user()
    one.befriend(me)
    other.befriend(me)
    connections = [live.socket(me), live.stream(me)]
    connections[1].greeted()
    live.seen(me, *connections)
    since = Since(live)
    authors = [one, one, one, other, one, other, other, me]
    events = [
        posted(author, number) if author is not me else received(me, number)
        for number, author in enumerate(authors * 12, 1)
    ]
    publish(live, {"since": time.time(), "events": events})
    for connection in connections:
        found = [connection.next() for _ in events]
        assert [frame.get("post_id") or frame["up_to"] for frame in found] == [*range(1, 97)]
        assert [frame["event_id"] for frame in found] == [event["id"] for event in events]
        cursors = [parse(frame["cursor"]) for frame in found]
        assert cursors == sorted(cursors) and len(set(cursors)) == len(events)
    assert since("hlfast_ws_frames_total") == 2 * len(events)
    assert since("hlfast_ws_writes_total") == 2


def test_repeats_and_what_nobody_understands(live: Live) -> None:
    me = live.user()
    socket = live.socket(me)
    since, now = Since(live), time.time()
    publish(
        live,
        {"since": now, "events": [received(me, 1), received(me, 1), {"type": 5}]},
        {"since": "now", "events": []},
        {"events": []},
        [],
        5,
        {"since": now, "events": [received(me, 1), received(me, 2)]},
    )
    assert [socket.next()["up_to"] for _ in range(2)] == [1, 2]
    assert since(events("new")) == 2
    assert since(events("repeated")) == 2
    assert since(events("unreadable")) == 5


def test_resumes(live: Live) -> None:
    me = live.user()
    since = Since(live)
    cursor = live.socket(me).cursor
    recovered, lost = (
        f'hlfast_ws_resumes_total{{recovered="{word}"}}' for word in ("true", "false")
    )
    assert (since(recovered), since(lost)) == (0, 0)
    assert live.socket(me, 0, cursor).resumed() == (True, [])
    assert (since(recovered), since(lost)) == (1, 0)
    for bad in ("other.1.1", "nonsense"):
        assert live.socket(me, 0, bad).resumed() == (False, [])
    assert (since(recovered), since(lost)) == (1, 2)


def test_closes(live: Live) -> None:
    """A code that anybody may make up is no series of its own."""
    me, since = live.user(), Since(live)
    target = f"/ws?token={token(me)}"
    for code in (1000, 1000, 4321, 3999, 1012):
        with Peer(live.nodes[0].port, target) as peer:
            peer.send(close(code))
            assert (CLOSE, code) in peer.frames()
    with Peer(live.nodes[0].port, target) as peer:
        peer.send(text("{}") * 101)
        assert (CLOSE, 4429) in peer.frames()
    with Peer(live.nodes[0].port, target) as peer:
        peer.send(text(b"\xff"))
        assert (CLOSE, 1007) in peer.frames()
    for one in ("bad", signed(me, exp=1), signed(me, ver=7)):
        with Peer(live.nodes[0].port, f"/ws?token={one}") as peer:
            assert peer.frame() == (CLOSE, 1008)
    with Peer(live.nodes[0].port, target) as peer:
        peer.frame()
    since.soon(closes(1006), 1)
    found = {
        name: n for name, n in since.all().items() if n and name.startswith("hlfast_ws_closes")
    }
    assert found == {
        closes(1000): 2, closes("other"): 3, closes(4429): 1, closes(1007): 1, closes(1006): 1,
        closes(1008): 3,
    }  # fmt: skip


def test_an_expired_standing(live: Live) -> None:
    me, since = live.user(), Since(live)
    socket = live.socket(me)
    words = {"old_password": PASSWORD, "new_password": "another battery"}
    assert me.post("/users/me/password", json=words).status_code == 204
    assert socket.closed() == 1008
    since.soon(closes(1008), 1)


def test_a_slow_reader(live: Live) -> None:
    me, writer, since = live.user(), live.user(), Since(live)
    target = f"/ws?token={token(me)}"
    with Peer(live.nodes[0].port, target, receive_buffer=4096) as idle:

        def is_behind() -> bool:
            writer.send_to(me, "\U0001f600" * 4096)
            return scrape(live)["hlfast_ws_readers_behind"] == 1

        wait_until(is_behind, "nobody is behind")
        assert since(closes(1013)) == 0

        def is_given_up() -> bool:
            writer.send_to(me, "\U0001f600" * 4096)
            return since(closes(1013)) == 1

        wait_until(is_given_up, "the reader is not given up")
        assert scrape(live)["hlfast_ws_readers_behind"] == 0
        assert idle.frame() is not None


def refused(live: Live, path: str, given: str) -> int:
    """The status of a handshake that fails."""
    url = live.nodes[0].ws_url.removesuffix("/ws")
    with pytest.raises(InvalidStatus) as failure:
        Socket(f"{url}{path}", given)
    return failure.value.response.status_code


def test_refused_handshakes(live: Live) -> None:
    since = Since(live)
    url, me = live.nodes[0].url, live.user()
    assert refused(live, "/ws", "") == 401
    assert refused(live, "/ws", "") == 401
    assert refused(live, "/nothing", "bad") == 404
    assert wire.get(url, b"/ws").status == 426
    for _ in range(CONNECTIONS_MAX):
        live.socket(me)
    assert refused(live, "/ws", token(me)) == 503
    # Not handshakes.
    assert wire.get(url, b"/health/ready").status == 200
    found = {name: n for name, n in since.all().items() if n and "refused" in name}
    statuses = {401: 2, 404: 1, 426: 1, 503: 1}
    assert found == {
        f'hlfast_ws_refused_handshakes_total{{status="{status}"}}': count
        for status, count in statuses.items()
    }


def test_presence_over_nodes(live: Live) -> None:
    assert scrape(live)["hlfast_ws_other_nodes"] == 0
    known = live.nodes[0].settings
    with Node(known["DATABASE_URL"], known["REDIS_URL"], **NODE | LIMITS, **NAME) as other:
        both = Live(live.api, [live.nodes[0], other], live.herald)
        live.socket(live.user())
        with Socket(other.ws_url, token(live.user())):
            for node in (0, 1):
                wait_until(
                    lambda node=node: scrape(both, node)["hlfast_ws_users_online"] == 2,
                    "not everybody is seen",
                )
                assert scrape(both, node)["hlfast_ws_users"] == 1
                assert scrape(both, node)["hlfast_ws_other_nodes"] == 1
