"""A cluster for each file: its tests leave whole what the later ones need."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.replicated import Cluster, running
from hl_utils.servers.services import Api


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running() as members:
        yield members


@pytest.fixture
def replicated(cluster: Cluster, redis_server: RedisServer) -> Iterator[Api]:
    """An API that knows of all three servers."""
    settings = cluster.settings | {"HLFAST_DATABASE_TIMEOUT_S": 3, "HLFAST_REPLICA_RETRY_S": 0.2}
    with Api(cluster.url, redis_server.url, **settings) as api:
        yield api
        assert not re.search(r"Request \S+ failed|never retrieved", api.log), api.log[-4000:]
