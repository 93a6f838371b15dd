"""Synchronous standbys: nothing that was acknowledged is lost with the primary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bench.crowd import Crowd
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.replicated import DATABASE, Cluster, health, lines_of_the_manual
from hl_utils.servers.services import Api
from tests.clients import Client
from tests.crash.load import Actor, Ledger, audit, until
from tests.replicas.failover import (
    bring_back,
    make_synchronous,
    promote,
    the_same_everywhere,
    wait_for_replicas,
)

ACTORS = 6
GROWTH = 300


@pytest.fixture
def client(replicated: Api) -> Iterator[Client]:
    with Client(replicated.url) as somebody:
        yield somebody


def test_writes_wait_for_a_synchronous_standby(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    make_synchronous(cluster)
    me, other = client.user(), client.user()
    cluster.c.kill()
    first = me.write("with one of the two")
    cluster.b.kill()
    answer = me.post("/posts", json={"content": "with none", "client_id": "x"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert first in me.items(f"/users/{me.id}/posts")
    assert client.items("/users/search", first_name="test", limit=1)
    assert me.put(f"/friends/{other.id}").status_code == 503
    # Nor does asking again acknowledge what no standby has.
    assert me.post("/posts", json={"content": "with none", "client_id": "x"}).status_code == 503
    assert me.put(f"/friends/{other.id}").status_code == 503
    cluster.c.start()
    cluster.until_followed(cluster.a, cluster.c)
    again = me.post("/posts", json={"content": "with none", "client_id": "x"})
    assert again.status_code in (200, 201)
    assert me.put(f"/friends/{other.id}").json() == {"status": "requested"}
    assert me.items(f"/users/{me.id}/posts") == [again.json(), first]
    cluster.b.start()
    cluster.until_followed(cluster.a, cluster.b)


def test_a_connection_to_a_standby_is_closed_before_writes(
    cluster: Cluster, redis_server: RedisServer
) -> None:
    address = cluster.a.directory / "address"
    address.symlink_to(cluster.b.home.sockets)
    with (
        Api(f"postgresql://hlfast@/{DATABASE}?host={address}", redis_server.url) as api,
        Client(api.url) as client,
    ):
        new = {"username": "ada", "password": "x" * 8, "first_name": "A", "last_name": "L"}
        assert client.post("/users", json=new).status_code == 503
        address.unlink()
        address.symlink_to(cluster.a.home.sockets)
        wait_until(lambda: client.post("/users", json=new).status_code == 201, "it stays there")


def test_a_synchronous_standby_has_everything_that_was_acknowledged(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    make_synchronous(cluster)
    ledger, stop = Ledger(), asyncio.Event()

    async def run() -> None:
        async with Crowd(replicated.url, 1, 1) as crowd:
            people = await crowd.people(ACTORS)
        ledger.people |= {person.id: person for person in people}
        async with asyncio.TaskGroup() as group:
            for n, me in enumerate(people):
                group.create_task(Actor(n, replicated.url, me, people[n ^ 1], ledger).run(stop))
            await ledger.grow(GROWTH)
            cluster.a.kill()
            acknowledged = ledger.size
            await until(lambda: len(ledger.refused) == ACTORS, "no refusals")
            assert await asyncio.to_thread(lambda: health(replicated, "ready")[0]) == 503
            new, other = await asyncio.to_thread(promote, cluster)
            await ledger.grow(GROWTH)
            await asyncio.to_thread(bring_back, cluster, cluster.a, new)
            await ledger.grow(GROWTH)
            stop.set()
        async with Crowd(replicated.url, 1, 1) as crowd:
            await audit(crowd, ledger)
        assert not ledger.broken
        assert set(ledger.statuses) <= {200, 201, 409, 503}, ledger.statuses
        print(f"\nacknowledged before the crash: {acknowledged}, in all: {ledger.size}, lost: 0")
        the_same_everywhere(new, other, cluster.a)

    asyncio.run(run())
    ok = (200, {"status": "ok"})
    wait_until(lambda: health(replicated, "ready") == ok, "something is missing")
    wait_for_replicas(replicated, client)


def test_a_removed_standby_leaves_no_slot(cluster: Cluster) -> None:
    primary = cluster.primary
    [_, other] = [one for one in cluster.members if one is not primary]

    def slots() -> list[str]:
        return primary.sql("SELECT slot_name FROM pg_replication_slots ORDER BY 1").split()

    assert slots() == ["a", other.name]
    state = cluster.manual("See")
    assert state.count("| standby") + state.count(" standby ") >= 2
    assert "streaming" in state
    other.kill()
    lines = lines_of_the_manual("Remove a standby").replace(" c\n", f" {other.name}\n")
    wait_until(lambda: cluster.streaming(primary) == {"a": "quorum"}, "it is still there")
    cluster.run(lines, B=primary)
    assert slots() == ["a"]
    assert "does not answer" in cluster.manual("See")
