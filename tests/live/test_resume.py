"""Who was away gets exactly what one that stayed got, or reads that it cannot be."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from bench.ledger.frames import Frame, check
from hl_utils.servers.services import Node
from tests.clients import Client
from tests.live.conftest import NODE, Live, token
from tests.nodes import DEADLINE_S, Socket

pytestmark = pytest.mark.one_database


@contextmanager
def another(live: Live, **settings: Any) -> Iterator[Node]:
    """One more node."""
    known = live.nodes[0].settings
    names = {"HLFAST_EVENTS_NAME": known["HLFAST_EVENTS_NAME"]}
    with Node(known["DATABASE_URL"], known["REDIS_URL"], **NODE, **names, **settings) as node:
        yield node


class Life:
    """Whatever may happen between somebody and a few others."""

    def __init__(self, live: Live, chance: random.Random) -> None:
        self.chance = chance
        self.me = live.user()
        self.others = [live.user() for _ in range(3)]
        self._posts: list[tuple[Client, int]] = []
        for other in self.others[:2]:
            self.me.befriend(other)

    def goes_on(self) -> None:
        """One thing more; it need not succeed."""
        chance, me, other = self.chance, self.me, self.chance.choice(self.others)
        happenings: list[Callable[[], Any]] = [
            lambda: self._write(other),
            lambda: self._write(other),
            lambda: self._write(other),
            lambda: self._write(me),
            lambda: other.put(f"/friends/{me.id}"),
            lambda: me.put(f"/friends/{other.id}"),
            lambda: me.put(f"/friends/{other.id}"),
            lambda: chance.choice([me.delete, other.delete])(
                f"/friends/{(other if chance.random() < 0.5 else me).id}"
            ),
            lambda: me.delete(f"/friends/{other.id}"),
            lambda: me.send_to(other),
            lambda: other.send_to(me),
            lambda: me.post(f"/dialogs/{other.id}/read", json={"up_to": 2**40}),
            lambda: other.post(f"/dialogs/{me.id}/read", json={"up_to": 2**40}),
        ]
        if self._posts:
            author, post = chance.choice(self._posts)
            happenings += [
                lambda: author.patch(f"/posts/{post}", json={"content": "Changed"}),
                lambda: author.delete(f"/posts/{post}"),
            ]
        chance.choice(happenings)()

    def _write(self, author: Client) -> None:
        privacy = self.chance.choice(["public", "friends"])
        self._posts.append((author, author.write(privacy=privacy)["id"]))

    def shown_now(self, received: list[Frame], missed: list[Frame]) -> list[Frame]:
        """The missed frames that may be seen now, by all that came so far."""
        newest = {}
        for frame in received:
            if frame["type"] in ("post.created", "post.updated"):
                newest[frame["post"]["id"]] = frame["post"]
            elif frame["type"] == "post.deleted":
                newest[frame["post_id"]] = None
        authors = {post: author.id for author, post in self._posts}
        friends = {friend["id"] for friend in self.me.items("/friends", limit=100)}
        shown = []
        for frame in missed:
            if frame["type"] == "post.deleted":
                if authors[frame["post_id"]] in friends:
                    shown.append(frame)
            elif not frame["type"].startswith("post."):
                shown.append(frame)
            elif frame["post"]["author_id"] in friends and newest[frame["post"]["id"]]:
                shown.append(frame | {"post": newest[frame["post"]["id"]]})
        return shown


@pytest.mark.parametrize("seed", range(6))
def test_one_that_comes_and_goes_and_its_twin(live: Live, seed: int) -> None:
    life = Life(live, chance := random.Random(seed))
    me, herald = life.me, live.herald.id
    twin = live.socket(me, 0)
    # What this one has seen, both nodes have.
    watcher = live.user()
    watching = [live.socket(watcher, 0), live.socket(watcher, 1)]
    cursor = twin.hello["cursor"]
    by_twin: list[Frame] = []
    # How many of them the other one has seen.
    seen = 0

    def resume(node: int) -> tuple[Socket, list[Frame]]:
        by_twin.extend(live.seen(me, twin)[0])
        live.seen(watcher, *watching)
        socket = live.socket(me, node, cursor)
        recovered, replayed = socket.resumed()
        assert recovered
        # Cut off now, it would come back for all of it.
        assert not replayed or socket.hello["cursor"] == cursor
        found = [f for f in replayed if f.get("message", {}).get("from_user_id") != herald]
        assert found == life.shown_now(by_twin, by_twin[seen:])
        return socket, found

    for _ in range(15):
        for _ in range(chance.randrange(8)):
            life.goes_on()
        other, replayed = resume(chance.choice([0, 1]))
        for _ in range(chance.randrange(4)):
            life.goes_on()
        received, live_received = live.seen(me, twin, other)
        assert live_received == received
        by_twin += received
        frames = replayed + live_received
        other.connection.close()
        # Not everything that was sent has to arrive.
        kept = chance.randrange(len(frames) + 1)
        if kept:
            cursor = frames[kept - 1]["cursor"]
            ids = [frame["event_id"] for frame in by_twin]
            seen = ids.index(frames[kept - 1]["event_id"]) + 1
    resume(1)
    assert len(by_twin) > 10


def test_a_replay_shows_only_what_may_be_seen_now(live: Live) -> None:
    """To a friend who was never connected, with somebody else's cursor of before."""
    me, friend, ex, again = (live.user() for _ in range(4))
    for other in (friend, ex, again):
        me.befriend(other)
    cursor = live.socket(live.user()).hello["cursor"]
    deleted = friend.write("Secret, deleted")
    changed = friend.write("Secret, changed")
    tightened = friend.write("Secret, tightened", privacy="public")
    twice = friend.write("Secret, changed and deleted")
    for post, text in ((changed, "Secret, too"), (changed, "Shown"), (twice, "Secret still")):
        assert friend.patch(f"/posts/{post['id']}", json={"content": text}).status_code == 200
    change = {"content": "For friends", "privacy": "friends"}
    assert friend.patch(f"/posts/{tightened['id']}", json=change).status_code == 200
    for post in (deleted, twice):
        assert friend.delete(f"/posts/{post['id']}").status_code == 204
    for privacy in ("public", "friends"):
        ex.write("Secret, a former friend's", privacy=privacy)
    assert me.delete(f"/friends/{ex.id}").status_code == 204
    before = again.write("Before")
    assert me.delete(f"/friends/{again.id}").status_code == 204
    again.write("Secret, in between", privacy="friends")
    me.befriend(again)
    after = again.write("After")
    live.seen(me, live.socket(me, 0), live.socket(me, 1))
    for node in (0, 1):
        for _ in range(2):
            recovered, replayed = live.socket(me, node, cursor).resumed()
            assert recovered
            assert "Secret" not in json.dumps(replayed)
            posts = [frame for frame in replayed if frame["type"].startswith("post.")]
            received = [(f["type"], f["post_id"] if "post_id" in f else f["post"]) for f in posts]
            newest = [me.get(f"/posts/{post['id']}").json() for post in (changed, tightened)]
            assert received == [
                ("post.created", newest[0]),
                ("post.created", newest[1]),
                ("post.updated", newest[0]),
                ("post.updated", newest[0]),
                ("post.updated", newest[1]),
                ("post.deleted", deleted["id"]),
                ("post.deleted", twice["id"]),
                ("post.created", before),
                ("post.created", after),
            ]
            assert len({frame["event_id"] for frame in replayed}) == len(replayed)
    # What a node keeps of a text that it has shown is out of date again.
    assert friend.patch(f"/posts/{changed['id']}", json={"content": "Anew"}).status_code == 200
    live.seen(me, live.socket(me, 0))
    _, replayed = live.socket(me, 0, cursor).resumed()
    texts = {f["post"]["content"] for f in replayed if f.get("post", {}).get("id") == changed["id"]}
    assert texts == {"Anew"}


def test_a_cursor_of_either_node(live: Live) -> None:
    me = live.user()
    staying = [live.socket(me, 0), live.socket(me, 1)]
    for number in range(3):
        live.herald.send_to(me, str(number))
    received, _ = live.seen(me, *staying)
    for cursor, missed in (
        (staying[0].hello["cursor"], received),
        (received[0]["cursor"], received[1:]),
    ):
        for node in (0, 1):
            recovered, replayed = live.socket(me, node, cursor).resumed()
            # The last one is the herald's.
            assert (recovered, replayed[:-1]) == (True, missed)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "0",
        "..",
        "a.0.0",
        "a.0.0\x00",
        "a" * 1000,
        "ä.1.1",
        "otherlog.1.1",
        "' OR 1=1",
    ],
)
def test_a_cursor_that_nobody_gave_out(live: Live, cursor: str) -> None:
    me = live.user()
    live.seen(me, live.socket(me))
    socket = live.socket(me, 0, cursor)
    if cursor:
        assert socket.resumed() == (False, [])
    # The hello's own is good.
    message = live.herald.send_to(me)
    live.seen(me, socket, live.socket(me, 1))
    recovered, replayed = live.socket(me, 1, socket.hello["cursor"]).resumed()
    assert (recovered, replayed[0]["message"]) == (True, message)


def test_a_cursor_from_a_node_that_is_ahead(live: Live) -> None:
    """This node waits until it has seen as much."""
    me = live.user()
    before = live.socket(me)
    live.herald.send_to(me, "Seen")
    epoch, offset, index = before.next()["cursor"].split(".")
    ahead = f"{epoch}.{offset}.{int(index, 16) + 1:x}"
    url = f"{live.nodes[0].ws_url}?token={token(me)}&cursor={ahead}"
    with connect(url, proxy=None) as connection:
        message = live.herald.send_to(me, "Next")
        frames = [check(connection.recv(timeout=DEADLINE_S)) for _ in range(3)]
    assert frames[0]["type"] == "hello"
    assert frames[1]["message"] == message
    assert frames[2] == {"type": "resumed", "recovered": True}


def test_a_node_that_has_just_started(live: Live) -> None:
    """It does not know what was before, and says so."""
    me = live.user()
    old = live.socket(me).hello["cursor"]
    live.herald.send_to(me)
    with another(live) as node:
        with Socket(node.ws_url, token(me), old) as socket:
            assert socket.resumed() == (False, [])
            new = socket.hello["cursor"]
        message = live.herald.send_to(me)
        live.seen(me, live.socket(me))
        with Socket(node.ws_url, token(me), new) as socket:
            recovered, replayed = socket.resumed()
            assert recovered
            assert replayed[0]["message"] == message


def test_what_is_too_old_or_too_much(live: Live) -> None:
    me = live.user()
    small = {"HLFAST_TAIL_EVENTS_MAX": 5, "HLFAST_WS_QUEUE_BYTES_MAX": 16_384}
    with another(live, **small) as node, Socket(node.ws_url, token(me)) as socket:
        cursors = [socket.hello["cursor"]]
        for number in range(6):
            live.herald.send_to(me, str(number))
            cursors.append(socket.next()["cursor"])
        for missed, cursor in enumerate(reversed(cursors)):
            with Socket(node.ws_url, token(me), cursor) as again:
                recovered, replayed = again.resumed()
                assert (recovered, len(replayed)) == ((True, missed) if missed < 6 else (False, 0))
        live.herald.send_to(me, "\U0001f600" * 2048)
        socket.next()
        with Socket(node.ws_url, token(me), cursors[-1]) as again:
            assert again.resumed() == (False, [])
