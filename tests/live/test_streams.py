"""Server-sent events: the same session over the other wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.services import Node
from tests.clients import PASSWORD, Client
from tests.live.conftest import NODE, Live, send_until_behind, signed, token
from tests.nodes import PATH, Socket, Stream

pytestmark = pytest.mark.one_database

USER_CONNECTIONS_MAX = 2
CONNECTIONS_MAX = 4


def test_a_stream_gets_what_a_socket_gets(live: Live) -> None:
    """Every kind of frame, in the same order, over either node."""
    me, friend = live.user(), live.user()
    streams = [live.stream(me, 0), live.stream(me, 1)]
    for stream in streams:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.greeted()["user_id"] == me.id
        assert 1000 <= stream.retry <= 5000
    socket = live.socket(me)
    me.befriend(friend)
    post = friend.write("Hello")
    friend.patch(f"/posts/{post['id']}", json={"content": "Zwei\nZeilen\u2028und mehr: \U0001f35e"})
    friend.delete(f"/posts/{post['id']}")
    friend.send_to(me)
    me.post(f"/dialogs/{friend.id}/read", json={"up_to": 1})
    theirs = live.socket(friend)
    theirs.say({"type": "typing", "user_id": me.id})
    typing = {"type": "typing", "user_id": friend.id}
    told = [one.until(lambda frame: frame == typing) for one in (socket, *streams)]
    assert told[0] == told[1] == told[2]
    assert [frame["type"] for frame in told[0]] == [
        "friend.added",
        "post.created",
        "post.updated",
        "post.deleted",
        "message.created",
        "message.read",
    ]
    for stream in streams:
        stream.presence_of(friend.id, True)
    # Whoever holds a stream is there, as somebody with a socket is.
    assert theirs.hello["online"] == [me.id]
    friend.delete(f"/friends/{me.id}")
    assert [one.next()["type"] for one in (socket, *streams)] == ["friend.removed"] * 3


@pytest.mark.parametrize("way", ["header", "query", "both"])
def test_a_resume_on_the_other_node(live: Live, way: str) -> None:
    """With the last id, from either wire; what a browser sends of itself is what counts."""
    me = live.user()
    first = live.stream(me, 0)
    old = first.greeted()["cursor"]
    for number in range(3):
        live.herald.send_to(me, str(number))
    told = live.seen(me, first)[0]
    query = {"header": "", "query": f"?cursor={told[0]['cursor']}", "both": f"?cursor={old}"}[way]
    more = {} if way == "query" else {"Last-Event-ID": told[0]["cursor"]}
    given = {"Authorization": f"Bearer {token(me)}"}
    with Stream(live.nodes[1].port, PATH + query, **given, **more) as again:
        assert again.greeted()["cursor"] == told[0]["cursor"]
        recovered, replayed = again.resumed()
        assert (recovered, replayed[:-1]) == (True, told[1:])
    recovered, replayed = live.socket(me, 1, told[1]["cursor"]).resumed()
    assert (recovered, replayed[:-1]) == (True, told[2:])


def test_a_cursor_that_nobody_gave_out(live: Live) -> None:
    me = live.user()
    stream = live.stream(me, 0, "otherlog.1.1")
    new = stream.greeted()["cursor"]
    assert stream.resumed() == (False, [])
    live.herald.send_to(me, "One")
    told = live.seen(me, stream)[0]
    again = live.stream(me, 0, new)
    again.greeted()
    assert again.resumed()[1][: len(told)] == told


def with_changed_password(user: Client) -> str:
    before = token(user)
    words = {"old_password": PASSWORD, "new_password": PASSWORD}
    assert user.post("/users/me/password", json=words).status_code == 204
    return before


BAD: dict[str, tuple[Callable[[Client], str], str]] = {
    "none": (lambda user: "", "A bearer token is needed."),
    "text": (lambda user: "x", "The token is not valid."),
    "refresh": (lambda user: signed(user, typ="refresh"), "The token is not valid."),
    "expired": (lambda user: signed(user, exp=1), "The token has expired."),
    "another version": (lambda user: signed(user, ver=7), "The token has been revoked."),
    "changed password": (with_changed_password, "The token has been revoked."),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_a_problem(live: Live, kind: str) -> None:
    """In the header or the query, with the status of one, and not one event."""
    made, detail = BAD[kind]
    given = made(live.user())
    port = live.nodes[0].port
    asked = {"X-Request-ID": "mine"}
    for query, headers in (
        (f"?token={given}&cursor=x", asked),
        ("", asked | {"Authorization": f"Bearer {given}"}),
    ):
        with Stream(port, PATH + query, **headers) as refused:
            assert (refused.status, refused.problem["status"]) == (401, 401)
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.headers["x-request-id"] == refused.problem["request_id"] == "mine"
            assert (refused.problem["detail"], refused.problem["instance"]) == (detail, PATH)


@pytest.mark.parametrize(
    ("query", "status", "loc"),
    [
        ("since=5", 422, ["query", "since"]),
        ("cursor=1&cursor=2", 422, ["query", "cursor"]),
        ("cursor=%FF", 400, None),
        ("&".join(f"a{number}=1" for number in range(40)), 400, None),
    ],
)
def test_a_bad_query(live: Live, query: str, status: int, loc: list[str] | None) -> None:
    given = {"Authorization": f"Bearer {token(live.user())}"}
    with Stream(live.nodes[0].port, f"{PATH}?{query}", **given) as refused:
        assert (refused.status, refused.problem["status"]) == (status, status)
        assert [error["loc"] for error in refused.problem.get("errors", [])] == [loc] * bool(loc)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_a_wrong_method(live: Live, method: str) -> None:
    body = {"Content-Length": "4"} if method == "POST" else {}
    early = b"body" if body else b""
    with Stream(live.nodes[0].port, method=method, early=early, **body) as refused:
        assert (refused.status, refused.headers["allow"]) == (405, "GET")
        assert refused.problem["status"] == 405


def test_an_old_client_and_one_that_says_more(live: Live) -> None:
    """HTTP/1.0 without any header, a demand for another protocol, and bytes that nobody reads."""
    me = live.user()
    target = f"{PATH}?token={token(me)}"
    port = live.nodes[0].port
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    with (
        Stream(port, target, version="1.0") as old,
        Stream(port, target, **upgrade) as modern,
        Stream(port, target, early=b"GET / HTTP/1.1\r\n\r\n" * 1000) as chatty,
    ):
        for stream in (old, modern, chatty):
            stream.greeted()
        assert live.seen(me, old, modern, chatty) == [[], [], []]


def test_pages_of_other_origins(live: Live) -> None:
    """The service's own page is on another port, so another origin: it may read, refusals too."""
    port, given = live.nodes[0].port, {"Authorization": f"Bearer {token(live.user())}"}
    own = f"http://127.0.0.1:{live.nodes[0].settings['HLFAST_HTTP_PORT']}"
    with Stream(port, Origin=own, **given) as ours, Stream(port, Origin=own) as refused:
        assert (ours.status, refused.status) == (200, 401)
        for one in (ours, refused):
            assert one.headers["access-control-allow-origin"] == own
            assert "X-Request-ID" in one.headers["access-control-expose-headers"]
            assert one.headers["vary"] == "Origin"
    with Stream(port, Origin="http://elsewhere.test", **given) as foreign:
        assert "access-control-allow-origin" not in foreign.headers
    asks = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id",
    }
    with Stream(port, method="OPTIONS", Origin=own, **asks) as preflight:
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-methods"] == "GET"
        assert "Last-Event-ID" in preflight.headers["access-control-allow-headers"]
        assert int(preflight.headers["access-control-max-age"]) > 0


def test_a_token_expires(live: Live) -> None:
    """A stream cannot bring a fresh one: it ends, and its client comes back with one."""
    user = live.user()
    soon = signed(user, exp=int(time.time()) - 3)
    with Stream(live.nodes[0].port, f"{PATH}?token={soon}") as stream:
        cursor = stream.greeted()["cursor"]
        assert stream.ended() == "token expired"
    again = live.stream(user, 1, cursor)
    again.greeted()
    assert again.resumed() == (True, [])


def test_a_changed_password_ends_the_streams_of_older_tokens(live: Live) -> None:
    user = live.user()
    streams = [live.stream(user, 0), live.stream(user, 1)]
    for stream in streams:
        stream.greeted()
    with_changed_password(user)
    assert [stream.ended() for stream in streams] == ["token revoked"] * 2


@pytest.fixture(scope="module")
def small(stack: Live) -> Iterator[Node]:
    """A node with little patience, that often says it is there."""
    settings = stack.nodes[0].settings
    little = {
        "HLFAST_WS_QUEUE_BYTES_MAX": 16_384,
        "HLFAST_WS_BEHIND_S": 1,
        "HLFAST_WS_CONNECTIONS_MAX": CONNECTIONS_MAX,
        "HLFAST_WS_USER_CONNECTIONS_MAX": USER_CONNECTIONS_MAX,
        "HLFAST_WS_COMMENT_S": 0.1,
        "HLFAST_WS_HANDSHAKE_TIMEOUT_S": 1,
        "HLFAST_EVENTS_NAME": "live",
        "HLFAST_ALLOWED_ORIGINS": "https://app.test",
    }
    with Node(settings["DATABASE_URL"], settings["REDIS_URL"], **NODE | little) as node:
        yield node


def opened(node: Node, user: Client, **more: Any) -> Stream:
    return Stream(node.port, Authorization=f"Bearer {token(user)}", **more)


def test_comments_keep_it_open(live: Live, small: Node) -> None:
    """Longer than the handshake's deadline would let a connection live."""
    with opened(small, live.user(), Origin="https://app.test") as stream:
        assert stream.headers["access-control-allow-origin"] == "https://app.test"
        stream.greeted()
        for _ in range(15):
            stream.comment()


def test_a_reader_that_does_not_read(live: Live, small: Node) -> None:
    """The stream says so and is cut off; what it did not read is lost to it, and to nobody else."""
    user, writer = live.user(), live.user()
    with (
        Socket(small.ws_url, token(user)) as healthy,
        opened(small, user, receive_buffer=4096) as idle,
    ):
        idle.greeted()
        sent = send_until_behind(writer, user, healthy, small)
        count = 0
        while (frame := idle.next())["type"] == "message.created":
            count += 1
        assert (frame["type"], frame["detail"]) == ("error", "too slow a reader")
        assert count < sent
        with pytest.raises(EOFError):
            idle.frame()


def test_streams_and_sockets_are_of_one_share(live: Live, small: Node) -> None:
    user = live.user()
    with Socket(small.ws_url, token(user)), opened(small, user) as stream:
        stream.greeted()
        with opened(small, user) as refused:
            assert (refused.status, refused.problem["status"]) == (429, 429)
            assert int(refused.headers["retry-after"]) >= 1
    # They are connected no more: that they hung up is noticed without a word.
    with ExitStack() as stack:

        def enters() -> bool:
            one = stack.enter_context(opened(small, user))
            return one.status == 200

        wait_until(enters, "their places are not free")


def test_a_node_that_is_full(live: Live, small: Node) -> None:
    """Whoever has no stream yet gets one of those of somebody who has two."""
    with ExitStack() as stack:

        def enters(user: Client) -> Stream:
            return stack.enter_context(opened(small, user))

        def come() -> list[Stream]:
            users = [live.user() for _ in range(CONNECTIONS_MAX - 1)]
            found = [enters(user) for user in (users[0], *users)]
            for one in found:
                one.greeted()
            return found

        streams = come()
        newcomer = enters(live.user())
        assert newcomer.status == 200
        assert streams[1].ended() == "the node is full: others have their share"
        refused = enters(live.user())
        assert (refused.status, refused.problem["status"]) == (503, 503)
        assert int(refused.headers["retry-after"]) >= 1
