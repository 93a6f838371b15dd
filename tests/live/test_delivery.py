"""Who is sent what, and who is not: every row of the contract's table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.ledger.frames import Frame
from tests.clients import Client
from tests.live.conftest import Live
from tests.nodes import Socket
from tests.superusers import superuser


@dataclass
class Circle:
    """Somebody and others, each with a socket on either node."""

    live: Live
    me: Client
    friend: Client
    ex: Client
    asked: Client
    stranger: Client
    sockets: dict[Client, tuple[Socket, Socket]]

    def received(self) -> dict[str, list[Frame]]:
        """What each was sent since the last look; the same on both of their sockets."""
        found = {}
        for name in ("me", "friend", "ex", "asked", "stranger"):
            user = getattr(self, name)
            one, other = self.live.seen(user, *self.sockets[user])
            assert one == other
            found[name] = one
        return found


@pytest.fixture
def circle(live: Live) -> Circle:
    me, friend, ex, asked, stranger = people = [live.user() for _ in range(5)]
    me.befriend(friend)
    me.befriend(ex)
    assert ex.delete(f"/friends/{me.id}").status_code == 204
    assert me.put(f"/friends/{asked.id}").status_code == 200
    # Both nodes have seen all of that before anybody connects: on one that is behind it would still
    # come, and on the other one it would not.
    live.seen(stranger, live.socket(stranger, 0), live.socket(stranger, 1))
    sockets = {user: (live.socket(user, 0), live.socket(user, 1)) for user in people}
    made = Circle(live, me, friend, ex, asked, stranger, sockets)
    made.received()
    return made


def only(received: dict[str, list[Frame]], *names: str) -> Frame:
    """The one frame that these were sent, and nobody else anything."""
    assert [name for name, frames in received.items() if frames] == list(names)
    frames = [frame for name in names for frame in received[name]]
    assert len(frames) == len(names), frames
    return frames[0]


@pytest.mark.parametrize("privacy", ["public", "friends"])
def test_posts_go_to_friends(circle: Circle, privacy: str) -> None:
    me = circle.me
    post = me.write("Hello", privacy=privacy)
    frame = only(circle.received(), "friend")
    assert (frame["type"], frame["post"]) == ("post.created", post)

    changed = me.patch(f"/posts/{post['id']}", json={"content": "Hello again"}).json()
    frame = only(circle.received(), "friend")
    assert (frame["type"], frame["post"]) == ("post.updated", changed)

    assert me.delete(f"/posts/{post['id']}").status_code == 204
    frame = only(circle.received(), "friend")
    assert (frame["type"], frame["post_id"]) == ("post.deleted", post["id"])


def test_what_changes_nothing_is_not_sent(circle: Circle) -> None:
    me = circle.me
    post = me.write("Hello", client_id="one")
    me.send_to(circle.friend, "Hello", client_id="one")
    me.post(f"/dialogs/{circle.friend.id}/read", json={"up_to": 1})
    assert circle.friend.post(f"/dialogs/{me.id}/read", json={"up_to": 1}).status_code == 204
    circle.received()

    assert me.post("/posts", json={"content": "Hello", "client_id": "one"}).status_code == 200
    assert me.patch(f"/posts/{post['id']}", json={}).status_code == 200
    path = f"/dialogs/{circle.friend.id}/messages"
    assert me.post(path, json={"content": "Hello", "client_id": "one"}).status_code == 200
    assert circle.friend.post(f"/dialogs/{me.id}/read", json={"up_to": 1}).status_code == 204
    assert me.put(f"/friends/{circle.friend.id}").status_code == 200
    assert me.put(f"/friends/{circle.asked.id}").status_code == 200
    assert not any(circle.received().values())


def test_a_post_that_a_superuser_deletes(circle: Circle) -> None:
    post = circle.me.write()
    circle.received()
    with superuser(circle.live.api) as admin:
        assert admin.delete(f"/posts/{post['id']}").status_code == 204
    assert only(circle.received(), "friend")["type"] == "post.deleted"


def test_messages_go_to_both_on_all_their_sockets(circle: Circle) -> None:
    message = circle.me.send_to(circle.stranger, "Hi", client_id="mine")
    received = circle.received()
    frame = only(received, "me", "stranger")
    assert received["me"] == received["stranger"]
    assert (frame["type"], frame["message"]) == ("message.created", message)


def test_reading_is_sent_to_both(circle: Circle) -> None:
    me, stranger = circle.me, circle.stranger
    sent = [stranger.send_to(me, str(number)) for number in range(3)]
    circle.received()
    assert me.post(f"/dialogs/{stranger.id}/read", json={"up_to": 2**40}).status_code == 204
    frame = only(circle.received(), "me", "stranger")
    del frame["cursor"], frame["event_id"]
    assert frame == {
        "type": "message.read",
        "user_id": me.id,
        "peer_id": stranger.id,
        "up_to": sent[-1]["id"],
    }


def test_a_friendship_from_beginning_to_end(circle: Circle) -> None:
    me, stranger = circle.me, circle.stranger
    assert stranger.put(f"/friends/{me.id}").status_code == 200
    frame = only(circle.received(), "me")
    assert (frame["type"], frame["user_id"]) == ("friend.requested", stranger.id)
    me.write()
    only(circle.received(), "friend")

    assert me.put(f"/friends/{stranger.id}").json() == {"status": "friends"}
    received = circle.received()
    only(received, "me", "stranger")
    assert [(f["type"], f["user_id"]) for f in received["me"]] == [("friend.added", stranger.id)]
    assert [(f["type"], f["user_id"]) for f in received["stranger"]] == [("friend.added", me.id)]
    me.write()
    only(circle.received(), "friend", "stranger")
    stranger.write()
    only(circle.received(), "me")

    assert stranger.delete(f"/friends/{me.id}").status_code == 204
    received = circle.received()
    only(received, "me", "stranger")
    assert [(f["type"], f["user_id"]) for f in received["me"]] == [("friend.removed", stranger.id)]
    assert [(f["type"], f["user_id"]) for f in received["stranger"]] == [("friend.removed", me.id)]
    me.write()
    only(circle.received(), "friend")
    stranger.write()
    assert not any(circle.received().values())


@pytest.mark.parametrize("withdrawn_by", ["me", "asked"])
def test_a_request_that_comes_to_nothing(circle: Circle, withdrawn_by: str) -> None:
    who, other = circle.me, circle.asked
    if withdrawn_by == "asked":
        who, other = other, who
    assert who.delete(f"/friends/{other.id}").status_code == 204
    assert only(circle.received(), "me", "asked")["type"] == "friend.removed"


def test_a_friend_who_is_typing(circle: Circle) -> None:
    live, (mine, _) = circle.live, circle.sockets[circle.me]
    mine.say({"type": "typing", "user_id": circle.friend.id})
    for socket in circle.sockets[circle.friend]:
        assert socket.next() == {"type": "typing", "user_id": circle.me.id}
    for other in (circle.ex, circle.asked, circle.stranger, circle.me):
        mine.say({"type": "typing", "user_id": other.id})
        assert mine.next()["code"] == "not_friends"
    # Those were not sent, or it would come before what the last one gets from a friend.
    friend = live.user()
    friend.befriend(circle.stranger)
    socket = live.socket(friend)
    circle.received()
    socket.say({"type": "typing", "user_id": circle.stranger.id})
    for other_socket in circle.sockets[circle.stranger]:
        assert other_socket.next() == {"type": "typing", "user_id": friend.id}
    assert not any(circle.received().values())


def test_hello_names_friends_who_are_online(circle: Circle) -> None:
    live = circle.live
    for node in (0, 1):
        socket = live.socket(circle.me, node)
        assert socket.hello["user_id"] == circle.me.id
        # The other node's people are known by broadcast.
        if circle.friend.id not in socket.hello["online"]:
            socket.presence_of(circle.friend.id, True)
        assert set(socket.hello["online"]) <= {circle.friend.id}
    names = {live.socket(circle.me, node).hello["node"] for node in (0, 1)}
    assert len(names) == 2


def test_new_friends_see_each_other(circle: Circle) -> None:
    mine, _ = circle.sockets[circle.me]
    theirs, _ = circle.sockets[circle.stranger]
    circle.me.befriend(circle.stranger)
    mine.presence_of(circle.stranger.id, True)
    theirs.presence_of(circle.me.id, True)


def test_events_of_several_sockets_and_cursors_are_the_same_everywhere(circle: Circle) -> None:
    """`received` compares both sockets; here that cursors grow and no id comes twice."""
    for number in range(20):
        circle.me.write(str(number))
        circle.me.send_to(circle.friend, str(number))
    frames = circle.received()["friend"]
    assert len(frames) == 40
    assert len({frame["event_id"] for frame in frames}) == 40
    assert len({frame["cursor"] for frame in frames}) == 40
