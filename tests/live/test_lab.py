"""What a node tells superusers of itself."""

from __future__ import annotations

import pytest

from tests.live.conftest import Live
from tests.superusers import superuser

pytestmark = pytest.mark.one_database

ASK = {"type": "lab"}


def test_a_superuser_is_told_what_the_node_is_at(live: Live) -> None:
    boss = superuser(live.api)
    socket = live.socket(boss)
    socket.say(ASK)
    first = socket.next()
    assert first["type"] == "lab"
    assert first["node"] == socket.hello["node"]
    assert len(first["lags"]) == len(first["bounds_s"]) + 1
    live.seen(boss, socket)
    socket.say(ASK)
    second = socket.next()
    assert second["sockets"] >= second["users"] >= 1
    assert second["clock_s"] > first["clock_s"]
    for name in ("frames", "writes", "events"):
        assert second[name] > first[name], name
    assert sum(second["lags"]) > sum(first["lags"])


def test_nobody_else_is(live: Live) -> None:
    """And no superuser where the setting is off."""
    for user, node, code in ((live.user(), 0, "forbidden"), (superuser(live.api), 1, "notfound")):
        socket = live.socket(user, node)
        socket.say(ASK)
        refused = socket.next()
        assert (refused["type"], refused["code"]) == ("error", code)
