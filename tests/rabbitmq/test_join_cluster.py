"""Two nodes joined by hand: what the script does, and why two nodes are not enough."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hlfast.errors import Unavailable
from tests.events.brokers import batches, in_a_loop, until_available
from tests.rabbitmq.cluster import SCRIPTS, Node, names, nodes, opened, wait

# Nodes start in many seconds, on a busy machine in a minute, and they do so several times.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Node]]:
    """Two nodes that know nothing of each other."""
    with nodes(2, alone=True) as found:
        yield found


@pytest.mark.parametrize("first", ["", "rabbit", "rabbit@", "rabbit@nowhere.invalid"])
def test_what_is_no_node_is_refused(pair: list[Node], first: str) -> None:
    """And the node goes on."""
    refused = pair[1].run("bash", SCRIPTS / "join_cluster.sh", first)
    assert refused.returncode == 1
    assert refused.stderr.startswith("join_cluster.sh: ")
    assert pair[1].answers()


def test_another_cookie_is_named(pair: list[Node]) -> None:
    """And not shown."""
    first, second = pair
    stranger = secrets.token_hex(16)
    with take_cookie(second, stranger):
        refused = second.run("bash", SCRIPTS / "join_cluster.sh", first.name)
    assert refused.returncode == 1
    assert "another Erlang cookie" in refused.stderr
    for cookie in (first.cookie, stranger):
        assert cookie not in refused.stdout + refused.stderr


@contextmanager
def take_cookie(node: Node, cookie: str) -> Iterator[None]:
    """The node and its tools have this one meanwhile."""
    own = node.cookie

    def take(one: str) -> None:
        # The answer comes over a connection that has shaken hands before.
        assert node.evaluate(f"erlang:set_cookie('{one}')") == "true"
        node.cookie = one

    take(cookie)
    try:
        yield
    finally:
        take(own)


@in_a_loop
async def test_the_log_outlives_the_joining(pair: list[Node]) -> None:
    """Its stream gets a copy on the node that joins; who has joined may ask again."""
    first, second = pair
    async with opened([first]) as log:
        start = await log.end()
        await log.publish(b"before")
    assert f"{second.name} has joined" in second.script("join_cluster.sh", first.name)
    for node in pair:
        assert set(node.status()["running_nodes"]) == names(pair)
    assert first.stream()[1] == names(pair)
    assert "is a member" in second.script("join_cluster.sh", first.name)
    async with opened([second]) as log:
        await log.publish(b"after")
        assert await batches(log, start, 2) == [b"before", b"after"]


@in_a_loop
async def test_of_two_nodes_one_is_no_majority(pair: list[Node]) -> None:
    """It confirms nothing alone; with the other one it goes on."""
    async with opened(pair, events_timeout_s=2.0) as log:
        start = await log.end()
        pair[1].kill()
        with pytest.raises(Unavailable):
            await log.publish(b"alone")
        pair[1].start()
        wait([pair[1]])
        await until_available(lambda: log.publish(b"together"))
        # What was not confirmed may have come all the same.
        assert (await batches(log, start, 1))[0] in (b"alone", b"together")
