"""Asynchronous standbys: what is lost with the primary, and that it is known."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from hl_utils.servers import families
from hl_utils.servers.process import wait_until
from hl_utils.servers.replicated import Cluster, answered, health
from hl_utils.servers.services import Api
from hlfast.db.postgres import each_host
from tests.clients import Client
from tests.replicas.failover import bring_back, the_same_everywhere, wait_for_replicas


@pytest.fixture
def client(replicated: Api) -> Iterator[Client]:
    with Client(replicated.url) as somebody:
        yield somebody


def test_an_asynchronous_cluster_loses_what_the_new_primary_had_not_received(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    path = f"/users/{me.id}/posts"
    kept = [me.write(f"kept {n}") for n in range(20)]
    the_same_everywhere(cluster.a, cluster.b, cluster.c)
    cluster.b.cut_off()
    lost = [me.write(f"lost {n}") for n in range(50)]
    assert friend.items("/feed", limit=50) == [*reversed(lost)]
    the_same_everywhere(cluster.a, cluster.c)
    cluster.a.kill()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        cluster.manual("Promote")
    assert "promote that one" in refused.value.output
    # Whoever promotes it in spite of that loses what only the others have.
    cluster.b.sql("SELECT pg_promote()")
    wait_until(lambda: health(replicated, "ready")[0] == 200, "the new primary is not found")
    before = answered(replicated)["replica"]
    survivors = me.items(path, limit=100)
    print(f"\nacknowledged: {len(kept + lost)}, lost: {len(kept + lost) - len(survivors)}")
    assert survivors == [*reversed(kept)]

    # c is ahead in bytes for now, but of another history: it answers nothing.
    new = [me.write(f"new {n}") for n in range(30)]
    for _ in range(20):
        assert me.items(path, limit=100) == [*reversed(kept + new)]
    assert answered(replicated)["replica"] == before

    cluster.c.stop()
    for old in (cluster.a, cluster.c):
        bring_back(cluster, old, cluster.b)
    the_same_everywhere(cluster.b, cluster.a, cluster.c)
    wait_until(lambda: health(replicated, "ready")[1] == {"status": "ok"}, "they are not used")
    assert me.items(path, limit=100) == [*reversed(kept + new)]
    wait_for_replicas(replicated, client)


def test_a_primary_that_is_silent_is_passed_over(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    me = client.user()
    the_same_everywhere(cluster.b, cluster.a, cluster.c)
    families.signal_all(cluster.b, signal.SIGSTOP)
    try:
        cluster.c.sql("SELECT pg_promote()")

        def writes() -> bool:
            return me.post("/posts", json={"content": "x"}).status_code == 201

        wait_until(writes, "the new primary is not found")
        # Each of the pool's connections finds out for itself.
        for _ in range(20):
            wait_until(writes, "the new primary is not found")
        assert len(me.items(f"/users/{me.id}/posts", limit=100)) >= 21
    finally:
        cluster.b.kill()


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("postgresql://u:p@a/d?x=1", ["postgresql://u:p@a/d?x=1"]),
        (
            "postgresql://u:p@a,b:2/d?x=1",
            ["postgresql://u:p@a/d?x=1", "postgresql://u:p@b:2/d?x=1"],
        ),
        (
            "postgresql:///d?host=a,b&port=1,2",
            ["postgresql:///d?host=a&port=1", "postgresql:///d?host=b&port=2"],
        ),
    ],
)
def test_hosts_of_a_url(url: str, urls: list[str]) -> None:
    assert each_host(url) == urls
