"""Three nodes that form a cluster by themselves, and what becomes of the event log without some."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from hl_utils.servers.process import wait_until
from tests.events.brokers import in_a_loop
from tests.rabbitmq.cluster import (
    CLUSTER_S,
    SCRIPTS,
    Node,
    names,
    nodes,
    opened,
    wait,
    wait_until_replicated,
)
from tests.rabbitmq.ledger import Ledger

# Nodes start in many seconds, on a busy machine in a minute, and they do so several times.
pytestmark = pytest.mark.timeout(1800)
# Confirmed before and after each disturbance.
ENOUGH = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[Node]]:
    """As after `docker compose --profile rabbit-cluster up`, the stream made."""
    with nodes(3) as found:
        asyncio.run(_make_stream(found))
        yield found


async def _make_stream(members: Sequence[Node]) -> None:
    async with opened(members) as log:
        await log.end()


def more(ledger: Ledger) -> None:
    """So many events are confirmed and found that were not yet."""
    for counted in (ledger.confirmed, ledger.found):
        enough = len(counted) + ENOUGH
        wait_until(lambda: len(counted) >= enough, "nothing goes on", CLUSTER_S)  # noqa: B023


def test_they_are_one_cluster(cluster: list[Node]) -> None:
    for node in cluster:
        status = node.status()
        assert set(status["running_nodes"]) == set(status["disk_nodes"]) == names(cluster)


def test_the_stream_is_on_each_of_them(cluster: list[Node]) -> None:
    wait_until_replicated(cluster)


def test_replicating_what_is_replicated_changes_nothing(cluster: list[Node]) -> None:
    told = cluster[0].script("replicate_streams.sh", *(node.name for node in cluster))
    assert "One cluster" in told
    assert "a copy for" not in told


def test_the_usual_recipe_works_in_a_second_node(cluster: list[Node]) -> None:
    """What people type who have made clusters before; the page has the same lines."""
    page = (SCRIPTS / "README.md").read_text()
    first, second, _ = cluster
    for line in ("stop_app", "join_cluster rabbit@rabbit", "start_app"):
        assert f"docker compose exec rabbitmq2 rabbitmqctl {line}\n" in page
        done = second.run("rabbitmqctl", *line.replace("rabbit@rabbit", first.name).split())
        assert done.returncode == 0, done.stdout + done.stderr
    wait([second])
    wait_until_replicated(cluster)


@in_a_loop
async def test_the_leader_is_killed_under_load(cluster: list[Node]) -> None:
    """Who writes and who reads was connected to that one."""
    wait_until_replicated(cluster)
    leader = cluster[0].stream()[0]
    cluster.sort(key=lambda node: node.name != leader)
    killed, *others = cluster

    def disturb(ledger: Ledger) -> None:
        more(ledger)
        killed.kill()
        more(ledger)
        assert others[0].stream()[0] in names(others)
        killed.start()
        wait([killed])
        wait_until_replicated(cluster)
        more(ledger)

    async with opened(cluster) as writing, opened(cluster) as reading:
        ledger = Ledger(writing, reading)
        await ledger.run(disturb)
    ledger.check()


@in_a_loop
async def test_after_a_full_stop_the_first_to_start_waits_for_the_last(cluster: list[Node]) -> None:
    """And no other order is needed than that all are started."""

    def disturb(ledger: Ledger) -> None:
        more(ledger)
        for node in cluster:
            node.stop()
        first, *others = cluster
        first.start()
        with pytest.raises(TimeoutError):
            wait_until(first.answers, "", within_s=10)
        for node in others:
            node.start()
        wait(cluster)
        more(ledger)

    async with opened(cluster) as writing, opened(cluster) as reading:
        ledger = Ledger(writing, reading)
        await ledger.run(disturb)
    ledger.check()


@in_a_loop
async def test_the_last_one_is_lost(cluster: list[Node]) -> None:
    """The others are made to start without it; they are two of three, and the log is whole."""
    first, second, last = cluster

    def disturb(ledger: Ledger) -> None:
        more(ledger)
        for node in cluster:
            node.stop()
        assert "starts without" in second.script("force_boot.sh")
        assert "stopped last" in last.script("force_boot.sh")
        second.start()
        wait([second])
        assert "runs: start" in first.run("bash", SCRIPTS / "force_boot.sh").stderr
        first.start()
        wait([first])
        more(ledger)

    async with opened(cluster) as writing, opened(cluster) as reading:
        ledger = Ledger(writing, reading)
        await ledger.run(disturb)
    ledger.check()
    last.start()
    wait([last])
