"""A connection from its handshake to its close code."""

from __future__ import annotations

import json
import socket as sockets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bench.ledger.frames import check
from hl_utils.servers.process import START_S, wait_until
from hl_utils.servers.services import Node
from tests.clients import PASSWORD
from tests.live.conftest import NODE, Live, send_until_behind, signed, token
from tests.nodes import DEADLINE_S, PATH, Socket, Stream
from tests.websocket.raw_client import CLOSE, TEXT, Peer, client_frame

pytestmark = pytest.mark.one_database


def opened(url: str, **options: Any) -> ClientConnection:
    return connect(url, open_timeout=DEADLINE_S, proxy=None, **options).__enter__()


def refused(url: str, **options: Any) -> Any:
    """The answer to a handshake that fails."""
    with pytest.raises(InvalidStatus) as failure:
        opened(url, **options)
    return failure.value.response


WAYS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "header": lambda given: ("", {"additional_headers": {"Authorization": f"Bearer {given}"}}),
    "query": lambda given: (f"?token={given}", {}),
    "subprotocol": lambda given: ("", {"subprotocols": ["bearer", given]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_token_by_each_way(live: Live, way: str) -> None:
    user, url = live.user(), live.nodes[0].ws_url
    query, options = WAYS[way](token(user))
    with closing(opened(url + query, **options)) as connection:
        assert check(connection.recv())["user_id"] == user.id
        assert connection.subprotocol == ("bearer" if way == "subprotocol" else None)


@pytest.mark.parametrize(("name", "ahead_s"), [("iat", 4), ("exp", -3)])
def test_clocks_may_differ(live: Live, name: str, ahead_s: int) -> None:
    user = live.user()
    given = signed(user, **{name: int(time.time()) + ahead_s})
    with closing(opened(f"{live.nodes[0].ws_url}?token={given}")) as connection:
        assert check(connection.recv())["user_id"] == user.id


def test_an_empty_cursor_is_none(live: Live) -> None:
    """Nothing is said of a resume: what comes next is what happens next."""
    user = live.user()
    socket = live.socket(user, cursor="")
    assert socket.hello["cursor"]
    assert live.seen(user, socket) == [[]]


def test_no_token_and_no_such_path(live: Live) -> None:
    url = live.nodes[0].ws_url
    answer = refused(url)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["title"]) == (401, "Unauthorized")
    assert refused(f"{url}?cursor=x").status_code == 401
    assert refused(f"{url}/x?token={token(live.user())}").status_code == 404


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        "1",
        '"typing"',
        "{}",
        '{"type": 5}',
        '{"type": "hello"}',
        '{"type": ["typing"]}',
        '{"type": "typing"}',
        '{"type": "typing", "user_id": "5"}',
        '{"type": "typing", "user_id": true}',
        '{"type": "typing", "user_id": 1.0}',
        '{"type": "token"}',
        '{"type": "token", "access_token": 5}',
        '{"type": "token", "access_token": "\\u00e4"}',
        '{"type": "typing", "user_id": 1, "x": "\\ud800"}',
        b"{}",
        "[" * 16_000,
    ],
)
def test_a_malformed_frame_is_answered(live: Live, said: str | bytes) -> None:
    socket = live.socket(live.user())
    socket.say(said)
    assert socket.next()["code"] == "malformed"
    # The connection stays.
    socket.say({"type": "typing", "user_id": 2**31})
    assert socket.next()["code"] == "not_friends"


def test_tokens_of_a_frame_that_are_not_good(live: Live) -> None:
    user = live.user()
    socket = live.socket(user)
    for bad, code in (
        ("x", "unauthenticated"),
        (signed(user, exp=1), "unauthenticated"),
        (token(live.user()), "forbidden"),
    ):
        socket.say({"type": "token", "access_token": bad})
        assert socket.next()["code"] == code
    assert live.seen(user, socket) == [[]]


def test_a_token_expires_unless_a_fresh_one_came(live: Live) -> None:
    user = live.user()
    soon = signed(user, exp=int(time.time()) + 2)
    url = live.nodes[0].ws_url
    with Socket(url, soon) as left, Socket(url, soon) as renewed:
        renewed.say({"type": "token", "access_token": token(user)})
        assert left.closed() == 1008
        assert live.seen(user, renewed) == [[]]


def test_a_changed_password_ends_the_connections_of_older_tokens(live: Live) -> None:
    user = live.user()
    one, other, new = live.socket(user, 0), live.socket(user, 1), "a new password"
    words = {"old_password": PASSWORD, "new_password": new}
    assert user.post("/users/me/password", json=words).status_code == 204
    assert (one.closed(), other.closed()) == (1008, 1008)
    with Socket(live.nodes[0].ws_url, user.token(user.username, new)) as later:
        assert live.seen(user, later) == [[]]


def test_a_connection_that_brings_a_newer_token_stays(live: Live) -> None:
    """If it does before the node's next look; a client that comes too late connects again."""

    def stays() -> bool:
        user = live.user()
        socket, old = live.socket(user), live.socket(user)
        words = {"old_password": PASSWORD, "new_password": PASSWORD}
        assert user.post("/users/me/password", json=words).status_code == 204
        fresh = user.token(user.username)
        try:
            socket.say({"type": "token", "access_token": fresh})
            assert old.closed() == 1008
            with Socket(live.nodes[0].ws_url, fresh) as later:
                return live.seen(user, socket, later) == [[], []]
        except ConnectionClosed as end:
            assert end.rcvd is not None
            assert end.rcvd.code == 1008
            return False

    assert any(stays() for _ in range(10))


def test_a_revoked_token_is_sent_nothing(live: Live) -> None:
    """Its signature is good, so the handshake succeeds; there is no hello."""
    user = live.user()
    connection = opened(f"{live.nodes[0].ws_url}?token={signed(user, ver=7)}")
    with pytest.raises(Exception, match="1008"):
        connection.recv(timeout=DEADLINE_S)


def test_a_message_that_is_too_big(live: Live) -> None:
    socket = live.socket(live.user())
    socket.say("[" * 16_384)
    assert socket.next()["code"] == "malformed"
    socket.say("[" * 16_385)
    assert socket.closed() == 1009


@pytest.fixture
def peer(live: Live) -> Iterator[Peer]:
    """A client that sends any bytes."""
    with Peer(live.nodes[0].port, f"/ws?token={token(live.user())}") as raw:
        yield raw


def test_text_that_is_not_utf_8(peer: Peer) -> None:
    peer.send(client_frame(TEXT, b"\xff"))
    assert (CLOSE, 1007) in peer.frames()


def test_too_many_frames(live: Live) -> None:
    socket = live.socket(live.user())
    for _ in range(101):
        socket.say("{}")
    assert socket.closed() == 4429


@pytest.fixture(scope="module")
def small(stack: Live) -> Iterator[Node]:
    """A node with little patience."""
    settings = stack.nodes[0].settings
    little = {
        "HLFAST_WS_QUEUE_BYTES_MAX": 16_384,
        "HLFAST_WS_BEHIND_S": 1,
        "HLFAST_WS_CONNECTIONS_MAX": 3,
        "HLFAST_EVENTS_NAME": "live",
    }
    with Node(settings["DATABASE_URL"], settings["REDIS_URL"], **NODE | little) as node:
        yield node


def test_a_reader_that_does_not_read(live: Live, small: Node) -> None:
    """It is closed with 1013; what it did not read is lost to it, and to nobody else."""
    user, writer = live.user(), live.user()
    target = f"/ws?token={token(user)}"
    with (
        Socket(small.ws_url, token(user)) as healthy,
        Peer(small.port, target, receive_buffer=4096) as idle,
    ):
        sent = send_until_behind(writer, user, healthy, small)
        number, end = next((n, f) for n, f in enumerate(idle.frames()) if f[0] == CLOSE)
        assert end == (CLOSE, 1013)
        # The first frame is the hello.
        assert number - 1 < sent


def test_a_node_that_is_full(live: Live, small: Node) -> None:
    url = f"{small.ws_url}?token={token(live.user())}"
    with closing(opened(url)), closing(opened(url)), closing(opened(url)):
        answer = refused(url)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1


def test_one_that_takes_a_whole_node_gives_way(live: Live, small: Node) -> None:
    """To each who has less, and then nobody does."""
    greedy, *others = (live.user() for _ in range(4))
    theirs = [Socket(small.ws_url, token(greedy)) for _ in range(3)]
    with closing(theirs[0].connection):
        for other, given_up in zip(others[:2], reversed(theirs), strict=False):
            live.sockets.append(Socket(small.ws_url, token(other)))
            assert given_up.closed() == 4429
        assert refused(f"{small.ws_url}?token={token(others[2])}").status_code == 503
        message = live.herald.send_to(greedy)
        assert theirs[0].next()["message"] == message


@pytest.mark.parametrize("claims", [{"exp": 1}, {"ver": 7}])
def test_bad_tokens_are_no_connections(live: Live, small: Node, claims: dict[str, int]) -> None:
    """Not while their clients do not hang up either; and a full node tells them the same."""
    bad = signed(live.user(), **claims)
    with ExitStack() as stack:
        for _ in range(3):
            peer = stack.enter_context(Peer(small.port, f"/ws?token={bad}"))
            assert peer.frame() == (CLOSE, 1008)
        good = [Socket(small.ws_url, token(live.user())) for _ in range(3)]
        live.sockets += good
        with Peer(small.port, "/ws?token=bad") as late:
            assert late.frame() == (CLOSE, 1008)
        assert [socket.connection.ping().wait(DEADLINE_S) for socket in good] == [True] * 3


def test_sockets_of_one_user(live: Live) -> None:
    """There may be 100 on a node, whether they come one after the other or all at once."""
    one, other = live.user(), live.user()
    url = f"{live.nodes[0].ws_url}?token={token(one)}"
    with ThreadPoolExecutor(16) as threads:
        connections = list(threads.map(opened, [url] * 105))
        codes = list(threads.map(code_or_hello, connections))
    assert codes.count(None) == 100
    assert codes.count(4429) == 5
    assert live.socket(other).hello["online"] == []
    assert live.socket(one, 1).hello["user_id"] == one.id
    connections[codes.index(None)].close()

    def one_more() -> bool:
        connections.append(opened(url))
        return code_or_hello(connections[-1]) is None

    wait_until(one_more, "its place is not free")
    for connection in connections:
        connection.close()


def code_or_hello(connection: ClientConnection) -> int | None:
    """What a new connection is sent first: None is a hello."""
    try:
        assert json.loads(connection.recv(timeout=DEADLINE_S))["type"] == "hello"
    except ConnectionClosed as end:
        assert end.rcvd is not None
        return end.rcvd.code
    return None


def test_a_node_that_is_to_stop(stack: Live) -> None:
    """It closes everybody with 1001, ends every stream, refuses who comes meanwhile, and leaves."""
    settings = stack.nodes[0].settings
    drain = {"HLFAST_DRAIN_TIMEOUT_S": 4, "HLFAST_EVENTS_NAME": "live"}
    with Node(settings["DATABASE_URL"], settings["REDIS_URL"], **NODE | drain) as node:
        user = stack.user()
        staying = [Socket(node.ws_url, token(user)) for _ in range(20)]
        streams = [Stream(node.port, f"{PATH}?token={token(user)}") for _ in range(5)]
        node.process.terminate()
        assert [socket.closed() for socket in staying] == [1001] * 20
        assert [stream.ended() for stream in streams] == ["the node stops: reconnect"] * 5
        with pytest.raises((OSError, InvalidStatus)):
            Socket(node.ws_url, token(user))
        assert node.process.wait(START_S) == 0
        assert "Traceback" not in node.log


def test_health(live: Live) -> None:
    with sockets.create_connection(("127.0.0.1", live.nodes[0].port)) as raw:
        raw.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(64).startswith(b"HTTP/1.1 200")


def test_a_node_says_where_it_listens(live: Live) -> None:
    node = live.nodes[0]
    ends = [line.partition("Z ")[2] for line in node.log.splitlines()]
    assert f"[INFO] Listening at: {node.ws_url}" in ends
