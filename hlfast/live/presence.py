"""Who is online, on any node: known by broadcasts that may be lost, and mended when they were.

Every node counts its broadcasts of changes and repeats the count in its heartbeat, so that a node
that missed one notices it and asks for the whole list. A node that falls silent is taken for gone,
and its users with it; by then most of them are back elsewhere and nobody saw a flicker.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hlfast import codec

# Users in one broadcast: about 64 KiB.
_USERS_AT_ONCE_MAX = 8192


@dataclass(slots=True)
class _Node:
    """Another node as far as we know it."""

    count: int = -1
    heard_at: float = 0.0
    users: set[int] = field(default_factory=set)
    asked_at: float = float("-inf")
    # Of a whole list so far: how many parts, and who.
    parts: int = -1
    coming: set[int] = field(default_factory=set)


class Presence:
    """Users online here and elsewhere. `changed` is called with those who came online or left.

    `broadcast` must neither wait nor fail. A user whose last socket here closed stays online for
    `grace_s`.
    """

    def __init__(
        self,
        node: str,
        broadcast: Callable[[bytes], None],
        changed: Callable[[Sequence[int]], None],
        *,
        heartbeat_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._node = node
        self._broadcast = broadcast
        self._changed = changed
        self._heartbeat_s = heartbeat_s
        self._grace_s = grace_s
        self._here: set[int] = set()
        self._nodes: dict[str, _Node] = {}
        # Number of nodes by user; users that are on none have no entry.
        self._node_counts: Counter[int] = Counter()
        self._leaving: dict[int, float] = {}
        self._came: set[int] = set()
        self._left: set[int] = set()
        # Not from 0: one that was restarted under the same name must not seem to go on.
        self._count = secrets.randbits(40)
        self._listed_at = float("-inf")
        self._heard_myself_at = self._clock()
        self._is_gone = False

    @property
    def online(self) -> int:
        """How many users are online on any node."""
        return len(self._node_counts)

    @property
    def others(self) -> int:
        """How many other nodes are known to run."""
        return len(self._nodes)

    def is_online(self, user: int) -> bool:
        """Whether the user has a socket on any node."""
        return user in self._node_counts

    def arrived(self, user: int) -> None:
        """A user's first socket here opened."""
        if self._leaving.pop(user, None) is None:
            self._here.add(user)
            self._left.discard(user)
            self._came.add(user)
            self._add([user])

    def departed(self, user: int) -> None:
        """A user's last socket here closed."""
        # Again: this is what the order goes by.
        self._leaving.pop(user, None)
        self._leaving[user] = self._clock() + self._grace_s

    async def run(self, every_s: float) -> None:
        """Broadcast changes every so many seconds, and heartbeats; notice who fell silent."""
        self._send(ask="")
        beat_at = 0.0
        while True:
            is_beat = self._clock() >= beat_at
            if is_beat:
                beat_at = self._clock() + self._heartbeat_s
            self.turn(beat=is_beat)
            await asyncio.sleep(every_s)

    def turn(self, *, beat: bool) -> None:
        """One round of `run`: changes, silent nodes, and a heartbeat if it is time for one."""
        now = self._clock()
        self._let_go(now)
        self._send_changes()
        if beat:
            self._send()
            self._miss(now)

    def farewell(self) -> None:
        """This node stops; its users have the grace to come back elsewhere."""
        self._send(bye=True)
        self._is_gone = True

    def heard(self, message: dict[str, Any]) -> None:
        """A broadcast of any node, ourselves included."""
        name = message["node"]
        now = self._clock()
        if name == self._node:
            self._hear_myself(now)
            return
        if (asked := message.get("ask")) is not None:
            if asked in ("", self._node):
                self._list()
            return
        node = self._nodes.setdefault(name, _Node())
        node.heard_at = now
        if message.get("bye"):
            node.heard_at += self._grace_s - self._silence_s
        elif "all" in message:
            self._take_list(node, message)
        elif "on" in message:
            self._take_change(name, node, message)
        elif node.count != message["n"]:
            self._ask(name, node)

    @property
    def _silence_s(self) -> float:
        """For so long a node may be silent."""
        return 3.5 * self._heartbeat_s

    def _hear_myself(self, now: float) -> None:
        """Who was deaf has no right to call the others silent."""
        if now - self._heard_myself_at > 2 * self._heartbeat_s:
            for node in self._nodes.values():
                node.heard_at = max(node.heard_at, now)
        self._heard_myself_at = now

    def _take_list(self, node: _Node, message: dict[str, Any]) -> None:
        if message["part"] == 0:
            node.parts, node.coming = 0, set()
        if message["part"] != node.parts:
            # One was lost. The next heartbeat makes us ask again.
            node.parts = -1
            return
        node.parts += 1
        node.coming.update(message["all"])
        if message["part"] == message["last"]:
            users, node.coming, node.parts = node.coming, set(), -1
            gone, come = node.users - users, users - node.users
            node.users, node.count = users, message["n"]
            self._add(come)
            self._remove(gone)

    def _take_change(self, name: str, node: _Node, message: dict[str, Any]) -> None:
        if message["n"] != node.count + 1:
            self._ask(name, node)
            return
        node.count = message["n"]
        come = set(message["on"]) - node.users
        gone = node.users.intersection(message["off"])
        node.users |= come
        node.users -= gone
        self._add(come)
        self._remove(gone)

    def _ask(self, name: str, node: _Node) -> None:
        now = self._clock()
        if now - node.asked_at >= self._heartbeat_s:
            node.asked_at = now
            self._send(ask=name)

    def _list(self) -> None:
        """Everybody here, for whoever asked; once in a while, however many ask."""
        now = self._clock()
        if now - self._listed_at < self._heartbeat_s / 4:
            return
        self._listed_at = now
        self._send_changes()
        users = list(self._here)
        last = max(0, (len(users) - 1) // _USERS_AT_ONCE_MAX)
        for part in range(last + 1):
            some = users[part * _USERS_AT_ONCE_MAX : (part + 1) * _USERS_AT_ONCE_MAX]
            self._send(all=some, part=part, last=last)

    def _send_changes(self) -> None:
        came, left = list(self._came), list(self._left)
        self._came.clear()
        self._left.clear()
        for start in range(0, max(len(came), len(left)), _USERS_AT_ONCE_MAX):
            end = start + _USERS_AT_ONCE_MAX
            self._count += 1
            self._send(on=came[start:end], off=left[start:end])

    def _let_go(self, now: float) -> None:
        # In the order of their leaving: the first that may stay ends it.
        gone: list[int] = []
        for user, until in self._leaving.items():
            if until > now:
                break
            gone.append(user)
        for user in gone:
            del self._leaving[user]
            self._here.discard(user)
            # Also of one who came since the last broadcast: its coming may be sent already.
            self._came.discard(user)
            self._left.add(user)
        self._remove(gone)

    def _miss(self, now: float) -> None:
        silent_since = now - self._silence_s
        if self._heard_myself_at < silent_since:
            return
        for name in [name for name, node in self._nodes.items() if node.heard_at < silent_since]:
            self._remove(self._nodes.pop(name).users)

    def _add(self, users: Iterable[int]) -> None:
        new = []
        for user in users:
            self._node_counts[user] += 1
            if self._node_counts[user] == 1:
                new.append(user)
        if new:
            self._changed(new)

    def _remove(self, users: Iterable[int]) -> None:
        gone = []
        for user in users:
            self._node_counts[user] -= 1
            if not self._node_counts[user]:
                del self._node_counts[user]
                gone.append(user)
        if gone:
            self._changed(gone)

    def _send(self, **fields: Any) -> None:
        if not self._is_gone:
            self._broadcast(codec.encode({"node": self._node, "n": self._count, **fields}))
