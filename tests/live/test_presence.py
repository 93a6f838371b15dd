"""Who is online: several nodes that agree in the end, whatever is lost; and no flicker."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bench.ledger.frames import check
from hl_utils.servers.services import SECRET, Node
from hlfast import codec
from hlfast.auth.tokens import Tokens
from hlfast.events.open import open_log
from hlfast.live import presence
from hlfast.live.presence import Presence
from hlfast.settings import Settings
from tests.events.brokers import in_a_loop
from tests.events.outboxes import new_users
from tests.live.conftest import NODE, Live, token
from tests.nodes import Socket
from tests.websocket.raw_client import Peer

pytestmark = pytest.mark.one_database

HEARTBEAT_S, GRACE_S, TURN_S = 2.0, 5.0, 0.2
# Until everything is mended: silence is noticed, asked for, answered; twice, for what is lost.
CALM_S = 40.0
# Of the nodes of the fixtures.
TURNS_A_BEAT = round(NODE["HLFAST_PRESENCE_HEARTBEAT_S"] / NODE["HLFAST_PRESENCE_JOIN_S"])


class Net:
    """Nodes wired by a broadcast that may lose anything, on a clock of their own."""

    def __init__(self, names: Sequence[str]) -> None:
        self.now = 1000.0
        self.loses = lambda: False
        self.sent = 0
        self.nodes: dict[str, Presence] = {}
        self.deaf: set[str] = set()
        # Sent to friends, by node: the last that was said of each.
        self.said: dict[str, dict[int, list[bool]]] = {}
        self._beats: dict[str, float] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        """A node, or the same again after it died."""
        said: dict[int, list[bool]] = {}

        def changed(users: Sequence[int]) -> None:
            for user in users:
                said.setdefault(user, []).append(node.is_online(user))

        node = Presence(
            name,
            self._broadcast,
            changed,
            heartbeat_s=HEARTBEAT_S,
            grace_s=GRACE_S,
            clock=lambda: self.now,
        )
        self.nodes[name], self.said[name], self._beats[name] = node, said, 0.0

    def _broadcast(self, data: bytes) -> None:
        self.sent += 1
        for name, node in list(self.nodes.items()):
            if name not in self.deaf and not self.loses():
                node.heard(codec.decode(data))

    def run(self, for_s: float) -> None:
        """Every node's turns in that time."""
        end = self.now + for_s
        while self.now < end:
            self.now += TURN_S
            for name in list(self.nodes):
                beat = self.now >= self._beats[name]
                if beat:
                    self._beats[name] = self.now + HEARTBEAT_S
                self.nodes[name].turn(beat=beat)

    def agree(self, online: set[int], users: range) -> None:
        """Every node knows it, and sent it last."""
        for name, node in self.nodes.items():
            assert {user for user in users if node.is_online(user)} == online
            for user, said in self.said[name].items():
                assert said[-1] == (user in online)
                # Nothing is said twice.
                assert all(one != next_one for one, next_one in itertools.pairwise(said))


@pytest.mark.parametrize("seed", range(20))
def test_nodes_agree_in_the_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lists in several parts.
    monkeypatch.setattr(presence, "_USERS_AT_ONCE_MAX", 3)
    chance = random.Random(seed)
    users = range(1, 31)
    net = Net(["a", "b", "c"])
    net.loses = lambda: chance.random() < 0.3
    here: dict[str, set[int]] = {name: set() for name in net.nodes}
    for _ in range(150):
        name = chance.choice(list(net.nodes))
        user = chance.choice(users)
        match chance.randrange(20):
            case 0 if len(net.nodes) > 1:
                del net.nodes[name]
                here[name].clear()
            case 1 | 2:
                for dead in set("abc") - net.nodes.keys():
                    net.start(dead)
            case 3:
                net.deaf = {chance.choice("abc")} if chance.random() < 0.5 else set()
            case number:
                if number % 2 and user not in here[name]:
                    net.nodes[name].arrived(user)
                    here[name].add(user)
                elif user in here[name]:
                    net.nodes[name].departed(user)
                    here[name].discard(user)
        net.run(chance.choice([0.2, 0.2, 1.0, 3.0]))
    net.deaf = set()
    net.loses = lambda: False
    net.run(CALM_S)
    net.agree(set().union(*here.values()), users)


def test_who_comes_back_within_the_grace_never_left() -> None:
    net = Net(["a", "b"])
    net.nodes["a"].arrived(1)
    net.run(CALM_S)
    for _ in range(5):
        net.nodes["a"].departed(1)
        net.run(GRACE_S / 2)
        net.nodes["b"].arrived(1)
        net.run(GRACE_S / 2)
        net.nodes["b"].departed(1)
        net.run(GRACE_S / 2)
        net.nodes["a"].arrived(1)
    assert net.said == {"a": {1: [True]}, "b": {1: [True]}}


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_people_of_a_node_that_goes(how: str) -> None:
    """Those who come back elsewhere never left; the others leave."""
    net = Net(["a", "b"])
    for user in (1, 2):
        net.nodes["a"].arrived(user)
    net.run(CALM_S)
    gone = net.nodes.pop("a")
    if how == "stopped":
        gone.farewell()
        # It says nothing more.
        sent = net.sent
        gone.turn(beat=True)
        assert net.sent == sent
    net.run(HEARTBEAT_S)
    net.nodes["b"].arrived(1)
    net.run(CALM_S)
    assert net.said["b"] == {1: [True], 2: [True, False]}


def test_who_hears_nobody_calls_nobody_gone() -> None:
    net = Net(["a", "b"])
    for user, name in enumerate("ab", start=1):
        net.nodes[name].arrived(user)
    net.run(CALM_S)
    net.loses = lambda: True
    net.run(CALM_S)
    net.loses = lambda: False
    net.run(CALM_S)
    assert net.said == {"a": {1: [True], 2: [True]}, "b": {2: [True], 1: [True]}}


def test_one_that_never_arrived_does_not_leave(live: Live) -> None:
    """Sockets that close while they are loading."""
    me, other, friend = live.user(), live.user(), live.user()
    me.befriend(friend)
    other.befriend(friend)
    watching = live.socket(friend)
    theirs = live.socket(other)
    for _ in range(20):
        Peer(live.nodes[0].port, f"/ws?token={token(me)}").__exit__()
    theirs.connection.close()
    # The grace has passed for all of them.
    watching.presence_of(other.id, False)
    assert me.id not in live.socket(friend).hello["online"]


def test_coming_leaving_and_coming_back(live: Live) -> None:
    me, friend, stranger = live.user(), live.user(), live.user()
    me.befriend(friend)
    watching = [live.socket(friend, 0), live.socket(friend, 1)]
    alien = live.socket(stranger)
    first = live.socket(me, 0)
    for socket in watching:
        socket.presence_of(me.id, True)
    # To the other node: nobody notices.
    first.connection.close()
    second = live.socket(me, 1)
    third = live.socket(me, 1)
    third.connection.close()
    assert friend.id in second.hello["online"]
    second.connection.close()
    for socket in watching:
        socket.presence_of(me.id, False)
        states = [frame["online"] for frame in socket.presence if frame["user_id"] == me.id]
        assert states == [True, False]
    live.seen(stranger, alien)
    assert alien.presence == []


def test_the_people_of_a_killed_node_leave(live: Live) -> None:
    me, other, friend = live.user(), live.user(), live.user()
    me.befriend(friend)
    other.befriend(friend)
    watching = live.socket(friend, 0)
    known = live.nodes[0].settings
    names = {"HLFAST_EVENTS_NAME": known["HLFAST_EVENTS_NAME"]}
    with Node(known["DATABASE_URL"], known["REDIS_URL"], **NODE, **names) as node:
        for user in (me, other):
            Socket(node.ws_url, token(user))
            watching.presence_of(user.id, True)
        node.kill()
        live.socket(me, 1)
        watching.presence_of(other.id, False)
        states = [frame["online"] for frame in watching.presence if frame["user_id"] == me.id]
        assert states == [True]


STORM = 1000


@in_a_loop
async def test_a_storm_of_reconnects_costs_few_broadcasts(
    live: Live,
) -> None:
    """A thousand people leave one node for the other."""
    known = live.nodes[0].settings
    people = await new_users(known["DATABASE_URL"], STORM)
    log = open_log(Settings(redis_url=known["REDIS_URL"], events_name=known["HLFAST_EVENTS_NAME"]))
    heard: list[dict[str, Any]] = []
    has_come = asyncio.Event()

    async def listen() -> None:
        async for data in log.listen():
            heard.append(codec.decode(data))
            has_come.set()

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(60):
            # A heartbeat says that nothing is missed from here on.
            await has_come.wait()
            for node in live.nodes:
                sockets = await _all_connect(node, people)
                while len(_arrivals(heard)) < STORM:
                    has_come.clear()
                    await has_come.wait()
                # So few that each has a turn of its own, and no more than that.
                by_node = Counter(message["node"] for message in heard)
                beats = Counter(m["node"] for m in heard if m.keys() == {"node", "n"})
                for who, count in by_node.items():
                    assert count <= TURNS_A_BEAT * (beats[who] + 2)
                heard.clear()
                for socket in sockets:
                    socket.transport.abort()
    finally:
        listening.cancel()
        await log.close()


def _arrivals(heard: Sequence[dict[str, Any]]) -> set[int]:
    return {user for message in heard for user in message.get("on", ())}


async def _all_connect(node: Node, people: Sequence[int]) -> list[ClientConnection]:
    sockets: list[ClientConnection] = []
    tokens = Tokens(Settings(secret=SECRET))
    for start in range(0, len(people), 100):
        opening = [
            connect(f"{node.ws_url}?token={tokens.sign('access', person, 0)}", proxy=None)
            for person in people[start : start + 100]
        ]
        sockets += await asyncio.gather(*opening)
    for socket in sockets:
        assert check(await socket.recv())["type"] == "hello"
    return sockets
