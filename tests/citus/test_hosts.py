"""DIALOGS_DATABASE_URL names several nodes: any of them is asked, and none that is not of use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from urllib.parse import urlsplit

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.replicated import health
from hl_utils.servers.services import Api
from tests.citus.clusters import Cluster, ask, at, away, fresh
from tests.citus.conftest import distribute
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

PEERS = 24
_numbers = itertools.count(1)
SETTINGS = {
    "HLFAST_DATABASE_POOL_SIZE": 4,
    "HLFAST_OUTBOX_SWEEP_S": 0.5,
    "HLFAST_OUTBOX_AGE_S": 1,
}
# Of one node: sessions of the service whose newest statement was about messages.
RAN = (
    "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() "
    "AND query ~ 'message' AND application_name = 'hlfast'"
)


def together(*urls: str) -> str:
    """One URL of several hosts."""
    parts = urlsplit(urls[0])
    login, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}@{','.join(map(at, urls))}").geturl()


@dataclass(frozen=True, slots=True)
class Town:
    """A cluster of two workers, of three hosts that are named, and people who write."""

    cluster: Cluster
    api: Api
    me: Client
    others: list[Client]

    def used(self) -> set[str]:
        """`host:port` of those that health calls well."""
        _, found = health(self.api, "dependencies")
        begins = "dialogs host "
        return {name.removeprefix(begins) for name, word in found.items()
                if name.startswith(begins) and word == "ok"}  # fmt: skip


@pytest.fixture(scope="module")
def town(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Town]:
    """All four hosts are named; the last one is in no cluster at first."""
    main = new_database(postgres_server, TEMPLATE)
    with fresh() as cluster:
        distribute(cluster)
        cluster.shards("count", "4")  # few to move
        url = together(*cluster.urls)
        with (
            Api(main, redis_server.url, DIALOGS_DATABASE_URL=url, **SETTINGS) as api,
            Client(api.url) as anybody,
        ):
            me, *others = [anybody.user() for _ in range(PEERS + 1)]
            yield Town(cluster, api, me, others)


@dataclass(slots=True)
class Ledger:
    """Messages that were acknowledged, by the other user: id and text; and what was refused."""

    number: int = field(default_factory=_numbers.__next__)
    sent: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)

    def count(self) -> int:
        """All that were acknowledged."""
        return sum(map(len, self.sent.values()))


@contextmanager
def written(town: Town) -> Iterator[Ledger]:
    """Somebody writes all the time, and repeats what is refused; then all is counted."""
    ledger, ends = Ledger(), Event()
    before = {one.id: len(stored(town, one)) for one in town.others}

    def write(other: Client) -> None:
        number = 0
        done = ledger.sent.setdefault(other.id, [])
        while not ends.is_set():
            number += 1
            text = f"{ledger.number}-{number}"
            new = {"content": text, "client_id": text}
            while (
                answer := town.me.post(f"/dialogs/{other.id}/messages", json=new)
            ).status_code == 503:
                ledger.refused.append(other.id)
            assert answer.status_code in (200, 201), answer.text
            done.append((answer.json()["id"], new["content"]))

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write, other) for other in town.others[:4]]
        try:
            yield ledger
        finally:
            ends.set()
        for one in writing:
            one.result()
    for other in town.others[:4]:
        found = stored(town, other)
        assert [number for number, _ in found] == list(range(1, len(found) + 1))
        assert found[before[other.id] :] == ledger.sent[other.id]


def stored(town: Town, other: Client) -> list[tuple[int, str]]:
    """All messages of a dialog, oldest first."""
    pages = town.me.pages(f"/dialogs/{other.id}/messages", "after", after=0, limit=100)
    return [(item["id"], item["content"]) for page in pages for item in page]


def more(ledger: Ledger, count: int = 40) -> None:
    """Wait until so many messages more were acknowledged."""
    enough = ledger.count() + count
    wait_until(lambda: ledger.count() >= enough, "nothing is acknowledged")


def until(town: Town, urls: list[str]) -> None:
    """Wait until exactly these hosts are used."""
    wanted = set(map(at, urls))
    wait_until(lambda: town.used() == wanted, f"{wanted} are not what is used")


def test_workers_are_asked_and_the_coordinator_is_not(town: Town) -> None:
    coordinator, first, second, stranger = town.cluster.urls
    until(town, [coordinator, first, second])
    for other in town.others:
        assert town.me.send_to(other)["id"] == 1
        assert town.me.items(f"/dialogs/{other.id}/messages")[0]["id"] == 1
    assert len(town.me.items("/dialogs", limit=100)) == PEERS
    assert [ask(url, RAN)[0]["n"] for url in (coordinator, stranger)] == [0, 0]
    assert all(ask(url, RAN)[0]["n"] for url in (first, second))
    status, found = health(town.api, "dependencies")
    assert (status, found[f"dialogs host {at(stranger)}"]) == (503, "unavailable")
    assert health(town.api, "ready") == (200, {"status": "degraded"})


def test_a_host_that_is_away_is_left_out_and_back(town: Town) -> None:
    """Its shards wait, for which nobody else can answer; all others go on by the other hosts."""
    coordinator, first, second, _ = town.cluster.urls
    with written(town) as ledger:
        more(ledger)
        with away(second):
            until(town, [coordinator, first])
            assert town.me.get("/dialogs", params={"limit": 100}).status_code == 200
        until(town, [coordinator, first, second])
        more(ledger)


def test_without_the_coordinator_messages_go_on(town: Town) -> None:
    coordinator, first, second, _ = town.cluster.urls
    with written(town) as ledger, away(coordinator):
        until(town, [first, second])
        refused = len(ledger.refused)
        more(ledger)
        assert len(ledger.refused) == refused
    until(town, [coordinator, first, second])


def test_a_node_that_was_removed_is_not_asked_any_more(town: Town) -> None:
    """It joins, takes its part and leaves, all under load; what it still knows misleads nobody."""
    coordinator, first, second, stranger = town.cluster.urls
    with written(town) as ledger:
        town.cluster.shards("add", at(stranger))
        until(town, [coordinator, first, second, stranger])
        more(ledger)
        town.cluster.shards("rebalance")
        town.cluster.shards("drain", at(second))
        more(ledger)
        town.cluster.shards("remove", at(second))
        # Whoever asks it gets an answer from its metadata of then.
        assert ask(second, "SELECT count(*) AS n FROM pg_dist_node")[0]["n"] == 4
        until(town, [coordinator, first, stranger])
        more(ledger)
        assert not ledger.refused
    town.cluster.shards("undistribute")
    until(town, [coordinator])
    with written(town) as ledger:
        more(ledger)


def test_tools_find_the_coordinator_among_the_hosts(town: Town) -> None:
    several = together(*reversed(town.cluster.urls[1:3]), town.cluster.url)
    done = town.cluster.hlfast("shards", "status", DIALOGS_DATABASE_URL=several)
    assert done.returncode == 0, done.stderr
    assert at(town.cluster.url) in done.stdout
    done = town.cluster.hlfast("tables", DIALOGS_DATABASE_URL=several)
    assert done.returncode == 0, done.stderr
    assert "applied dialogs/" not in done.stdout
