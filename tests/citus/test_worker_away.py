"""One worker does not answer: its dialogs wait, everything else goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.replicated import health
from hl_utils.servers.services import Api
from hlfast.dialogs.dialog_ids import dialog_id
from tests.citus.clusters import Cluster, ask, at, away, fresh, silent
from tests.citus.conftest import distribute
from tests.clients import Client
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database

PEERS = 12
# A tenth of it a silent node is waited for.
TIMEOUT_S = 25
SETTINGS = {
    **MANY_CONNECTIONS,
    "HLFAST_OUTBOX_SWEEP_S": 0.2,
    "HLFAST_OUTBOX_AGE_S": 1,
    "HLFAST_DATABASE_TIMEOUT_S": TIMEOUT_S,
}


def homes(cluster: Cluster, dialogs: list[int]) -> dict[int, str]:
    """`host:port` of each dialog's worker."""
    rows = cluster.ask(
        "SELECT d, nodename, nodeport FROM unnest($1::bigint[]) AS d JOIN pg_dist_placement AS p "
        "ON p.shardid = get_shard_id_for_distribution_column('dialog', d) "
        "JOIN pg_dist_node USING (groupid)",
        dialogs,
    )
    return {row["d"]: f"{row['nodename']}:{row['nodeport']}" for row in rows}


@dataclass(frozen=True, slots=True)
class Talk:
    """Somebody with a dialog with each of `near` and `far`: those of `far` are on `worker`."""

    cluster: Cluster
    main: str
    redis: str
    api: Api
    me: Client
    near: list[Client]
    far: list[Client]

    @property
    def worker(self) -> str:
        """The URL of the one that is to be away."""
        return self.cluster.urls[1]

    @property
    def name(self) -> str:
        """The name that health gives to the worker that is to be away."""
        return f"dialogs node {at(self.worker)}"

    def listed(self, **query: Any) -> tuple[set[int], bool]:
        """Whom the list of dialogs shows, and whether it says that some are missing."""
        answer = self.me.get("/dialogs", params={"limit": 100, **query})
        if answer.status_code == 503:
            # It went away since the last look, which is not repeated at once.
            assert int(answer.headers["Retry-After"]) == 1
            return set(), False
        page = answer.json()
        return {item["user"]["id"] for item in page["items"]}, page.get("incomplete", False)


@pytest.fixture(scope="module")
def talk(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Talk]:
    """One for all tests here: each leaves the worker as it was."""
    main = new_database(postgres_server, TEMPLATE)
    with fresh() as cluster:
        distribute(cluster)
        with (
            Api(main, redis_server.url, DIALOGS_DATABASE_URL=cluster.url, **SETTINGS) as api,
            Client(api.url) as somebody,
        ):
            yield talking(cluster, main, redis_server.url, api, somebody)


def talking(cluster: Cluster, main: str, redis: str, api: Api, somebody: Client) -> Talk:
    """A message to each peer, and all of them published."""
    me, *others = [somebody.user() for _ in range(PEERS + 1)]
    for other in others:
        me.send_to(other)
    home = homes(cluster, [dialog_id(me.id, other.id) for other in others])
    worker = at(cluster.urls[1])
    near = [one for one in others if home[dialog_id(me.id, one.id)] != worker]
    far = [one for one in others if home[dialog_id(me.id, one.id)] == worker]
    assert near, "no dialog on the other worker"
    assert far, "no dialog on the worker"
    wait_until(lambda: not cluster.ask("SELECT FROM messageoutbox"), "the outbox is not emptied")
    return Talk(cluster, main, redis, api, me, near, far)


def test_its_dialogs_wait_and_all_else_goes_on(talk: Talk) -> None:
    me, near, far = talk.me, talk.near, talk.far
    again = {"content": "later", "client_id": "one"}
    with away(talk.worker):
        for other in near:
            assert me.send_to(other, "on")["id"] == 2
            assert me.items(f"/dialogs/{other.id}/messages")[0]["content"] == "on"
        for other in far:
            answer = me.post(f"/dialogs/{other.id}/messages", json=again)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
        # Published and deleted, whatever the other worker does.
        living = talk.cluster.urls[2]
        wait_until(
            lambda: not ask(living, _ROWS_HERE)[0]["n"], "rows of a worker that answers stay"
        )

    for other in far:
        answer = me.post(f"/dialogs/{other.id}/messages", json=again)
        assert (answer.status_code, answer.json()["id"]) == (201, 2)
        answer = me.post(f"/dialogs/{other.id}/messages", json=again)
        assert (answer.status_code, answer.json()["id"]) == (200, 2)
    everybody = {one.id for one in near + far}
    wait_until(lambda: talk.listed() == (everybody, False), "the list stays incomplete")


def test_the_list_shows_the_rest_and_says_so(talk: Talk) -> None:
    near, everybody = {one.id for one in talk.near}, {one.id for one in talk.near + talk.far}
    usual = talk.me.get("/dialogs", params={"limit": 100}).json()
    assert "incomplete" not in usual
    shown = [item for item in usual["items"] if item["user"]["id"] in near]
    with away(talk.worker):
        wait_until(lambda: talk.listed() == (near, True), "the list is not of what answers")
        # The same rows, in the same order, to the microsecond: the cursor is one of before, too.
        assert talk.me.items("/dialogs", limit=100) == shown
        pages = talk.me.pages("/dialogs", "before", limit=2)
        assert [item for page in pages for item in page] == shown
    wait_until(lambda: talk.listed() == (everybody, False), "the list stays incomplete")
    assert talk.me.get("/dialogs", params={"limit": 100}).json() == usual


def test_health_names_it_and_is_degraded(talk: Talk) -> None:
    status, found = health(talk.api, "dependencies")
    assert (status, found[talk.name]) == (200, "ok")
    assert len([name for name in found if name.startswith("dialogs node")]) == 2
    assert health(talk.api, "ready") == (200, {"status": "ok"})
    with away(talk.worker):
        status, found = health(talk.api, "dependencies")
        assert status == 503
        assert {name for name, word in found.items() if word != "ok"} == {talk.name}
        assert health(talk.api, "ready") == (200, {"status": "degraded"})
    assert health(talk.api, "dependencies")[0] == 200
    assert health(talk.api, "ready") == (200, {"status": "ok"})


def test_a_process_starts_while_it_is_away(talk: Talk) -> None:
    near = {one.id for one in talk.near}
    with away(talk.worker):
        urls = {"DATABASE_URL": talk.main, "DIALOGS_DATABASE_URL": talk.cluster.url}
        tables = talk.cluster.hlfast("tables", **urls)
        assert tables.stdout == "the tables are up to date\n", tables.stderr
        again = Api(talk.main, talk.redis, DIALOGS_DATABASE_URL=talk.cluster.url, **SETTINGS)
        with again as api, Client(api.url) as somebody:
            me = Client(api.url, somebody.token(talk.me.username))
            there = Talk(talk.cluster, talk.main, talk.redis, api, me, talk.near, talk.far)
            assert health(api, "ready") == (200, {"status": "degraded"})
            assert there.listed() == (near, True)
            assert me.send_to(talk.near[0], "from a new process")


def test_what_a_dead_process_left_is_published_where_a_worker_answers(talk: Talk) -> None:
    def left_behind(other: Client) -> None:
        # As a process does that dies just after.
        talk.cluster.ask(
            "SELECT FROM message_send($1, $2, $3, 'left', NULL, false)",
            dialog_id(talk.me.id, other.id),
            talk.me.id,
            other.id,
        )

    left_behind(talk.far[0])
    left_behind(talk.near[0])
    with away(talk.worker):
        wait_until(
            lambda: not ask(talk.cluster.urls[2], _ROWS_HERE)[0]["n"],
            "one worker that is away holds up the sweep of all",
        )
    wait_until(lambda: not talk.cluster.ask("SELECT FROM messageoutbox"), "its own rows stay")


def test_a_silent_one_is_waited_for_a_moment_only(talk: Talk) -> None:
    """As a machine is that lost its power: it takes connections, and that is all."""
    near, everybody = {one.id for one in talk.near}, {one.id for one in talk.near + talk.far}
    with silent(talk.cluster, talk.worker):
        wait_until(lambda: talk.listed() == (near, True), "the list is not of what answers")
        assert health(talk.api, "ready") == (200, {"status": "degraded"})
        # Who asks for what is there alone is answered long before the statement is given up, and
        # the connection is free for others.
        started = time.monotonic()
        answer = talk.me.post(f"/dialogs/{talk.far[0].id}/messages", json={"content": "Hi"})
        assert answer.status_code == 503
        assert time.monotonic() - started < TIMEOUT_S / 2
    wait_until(lambda: talk.listed() == (everybody, False), "the list stays incomplete")


# The rows of the shards on the node itself.
_ROWS_HERE = """
SELECT coalesce(sum((xpath('/row/n/text()', query_to_xml(
    format('SELECT count(*) AS n FROM %s', shard), false, true, '')))[1]::text::bigint), 0) AS n
FROM (
    SELECT format('messageoutbox_%s', shardid) AS shard FROM pg_dist_shard
    JOIN pg_dist_placement USING (shardid)
    WHERE logicalrelid = 'messageoutbox'::regclass
      AND groupid = (SELECT groupid FROM pg_dist_local_group)
) AS shards
"""
