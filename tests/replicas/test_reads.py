"""What is read is right whatever a replica lacks; once it lacks nothing, it is asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.replicated import Cluster, answered, health
from hl_utils.servers.services import Api
from hlfast.settings import Settings, SettingsError
from tests.clients import Client
from tests.replicas.failover import wait_for_replicas


@pytest.fixture
def client(replicated: Api) -> Iterator[Client]:
    with Client(replicated.url) as somebody:
        yield somebody


def everything_is_seen_at_once(client: Client) -> None:
    """One's own writes, and everybody else's."""
    name = f"Zoe{'abcdefghij'[len(client.items('/users/search', first_name='Zoe')) % 10]}"
    me, friend, stranger = client.user(first_name=name), client.user(), client.user()
    assert [user["id"] for user in client.items("/users/search", first_name=name)] == [me.id]
    assert me.patch("/users/me", json={"last_name": "Renamed"}).status_code == 200
    [found] = client.items("/users/search", first_name=name, last_name="renamed")
    assert found["last_name"] == "Renamed"
    assert friend.items("/feed") == []
    me.befriend(friend)
    for _ in range(3):
        post = me.write()
        path, wall = f"/posts/{post['id']}", f"/users/{me.id}/posts"
        assert me.items(wall) == friend.items("/feed") == stranger.items(wall) == [post]
        changed = me.patch(path, json={"content": "Changed", "privacy": "friends"}).json()
        assert stranger.items(wall) == []
        assert me.items(wall) == friend.items("/feed") == [changed]
        assert me.delete(path).status_code == 204
        assert me.items(wall) == friend.items("/feed") == []
    kept = me.write(privacy="friends")
    assert friend.items("/feed") == [kept]
    assert me.delete(f"/friends/{friend.id}").status_code == 204
    assert friend.items("/feed") == friend.items(f"/users/{me.id}/posts") == []


def paused(cluster: Cluster) -> Callable[[], None]:
    """Standbys take the log and replay nothing of it; returns what lets them go on."""
    for one in (cluster.b, cluster.c):
        one.sql("SELECT pg_wal_replay_pause()")
    for one in (cluster.b, cluster.c):
        wait_until(
            lambda one=one: one.sql("SELECT pg_get_wal_replay_pause_state()") == "paused",
            "replay goes on",
        )

    def go_on() -> None:
        for one in (cluster.b, cluster.c):
            one.sql("SELECT pg_wal_replay_resume()")

    return go_on


def test_what_a_replica_has_not_replayed_the_primary_answers(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    wait_for_replicas(replicated, client)
    everything_is_seen_at_once(client)
    go_on = paused(cluster)
    client.user()
    before = answered(replicated)
    everything_is_seen_at_once(client)
    after = answered(replicated)
    assert after["replica"] == before["replica"]
    # One that is behind is not waited for each time.
    assert after["fallback"] > before["fallback"]
    assert after["primary"] > before["primary"]
    status, dependencies = health(replicated, "dependencies")
    assert (status, health(replicated, "ready")[1]) == (503, {"status": "degraded"})
    assert sorted(dependencies.values()).count("unavailable") == 2
    go_on()
    wait_for_replicas(replicated, client)
    everything_is_seen_at_once(client)
    wait_until(lambda: health(replicated, "ready")[1] == {"status": "ok"}, "it stays degraded")


def test_health_names_each_replica(cluster: Cluster, replicated: Api, client: Client) -> None:
    wait_for_replicas(replicated, client)
    # The primary, named among them, is known by the mark of its timeline, which is seen at the next
    # look when it was set after the first one.
    wait_until(lambda: health(replicated, "dependencies")[0] == 200, "one is not found")
    _, dependencies = health(replicated, "dependencies")
    assert list(dependencies)[4:] == [
        f"replica {number} ({one.home.sockets})" for number, one in enumerate(cluster.members, 1)
    ]
    cluster.c.stop()
    wait_until(lambda: health(replicated, "dependencies")[0] == 503, "nobody noticed")
    _, dependencies = health(replicated, "dependencies")
    assert [name for name, word in dependencies.items() if word != "ok"] == [
        f"replica 3 ({cluster.c.home.sockets})"
    ]
    assert health(replicated, "ready") == (200, {"status": "degraded"})
    everything_is_seen_at_once(client)
    cluster.c.start()
    wait_until(lambda: health(replicated, "ready") == (200, {"status": "ok"}), "not found again")


def test_a_commit_that_is_not_flushed_is_waited_for(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    cluster.a.sql("ALTER SYSTEM SET synchronous_commit = off")
    cluster.a.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
    cluster.a.sql("SELECT pg_reload_conf()")
    wait_until(lambda: cluster.a.sql("SHOW synchronous_commit") == "off", "not reloaded")
    try:
        everything_is_seen_at_once(client)
    finally:
        cluster.a.sql("ALTER SYSTEM RESET ALL")
        cluster.a.sql("SELECT pg_reload_conf()")
    wait_for_replicas(replicated, client)


def test_a_replica_that_is_promoted_by_mistake_is_left_out(
    cluster: Cluster, replicated: Api, client: Client
) -> None:
    wait_for_replicas(replicated, client)
    cluster.b.sql("SELECT pg_promote()")
    # Somebody has mistaken it for the primary.
    cluster.b.sql("DELETE FROM friend")
    cluster.b.sql("""INSERT INTO waltimeline (timeline) VALUES ('00000002')""")
    everything_is_seen_at_once(client)
    wait_until(lambda: health(replicated, "dependencies")[0] == 503, "nobody noticed")
    everything_is_seen_at_once(client)
    wait_for_replicas(replicated, client)
    assert health(replicated, "ready") == (200, {"status": "degraded"})


@pytest.mark.parametrize(
    ("main", "replicas"),
    [
        ("mysql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d", "mysql://u@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d,h2"),
    ],
)
def test_replicas_are_for_postgresql(main: str, replicas: str) -> None:
    settings = Settings(database_url=main, database_replica_urls=replicas)
    with pytest.raises(SettingsError, match="DATABASE_REPLICA_URLS"):
        _ = settings.replica_urls
