"""The limit of friends, here two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests.clients import Client


@pytest.fixture
def client(migrated_database_url: str, redis_server: RedisServer) -> Iterator[Client]:
    """Somebody at an API with that limit."""
    settings = {"HLFAST_FRIENDS_MAX": 2, "HLFAST_DRAIN_TIMEOUT_S": 1}
    with Api(migrated_database_url, redis_server.url, **settings) as api, Client(api.url) as client:
        yield client


def test_the_limit_of_friends(client: Client) -> None:
    me, other = client.user(), client.user()
    early, late = client.user(), client.user()
    assert early.put(f"/friends/{me.id}").status_code == 200
    assert me.put(f"/friends/{late.id}").json() == {"status": "requested"}
    for _ in range(2):
        me.befriend(client.user())

    # I can neither ask nor accept, and nobody can accept my request.
    assert me.put(f"/friends/{other.id}").status_code == 409
    assert me.put(f"/friends/{early.id}").status_code == 409
    assert late.put(f"/friends/{me.id}").status_code == 409
    assert len(me.items("/friends")) == 2
    assert [user["id"] for user in me.items("/friends/requests")] == [early.id]
    assert [user["id"] for user in late.items("/friends/requests")] == [me.id]

    # What is already there stays as it is when it is asked for again.
    friend = me.items("/friends")[0]["id"]
    assert me.put(f"/friends/{friend}").json() == {"status": "friends"}
    assert me.put(f"/friends/{late.id}").json() == {"status": "requested"}

    # The end of a friendship allows one more, once.
    assert me.delete(f"/friends/{friend}").status_code == 204
    assert me.put(f"/friends/{early.id}").json() == {"status": "friends"}
    assert late.put(f"/friends/{me.id}").status_code == 409
    assert me.put(f"/friends/{other.id}").status_code == 409
    assert len(me.items("/friends")) == 2
