"""One worker does not answer: its dialogs wait, everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hlfast.dialogs.ids import dialog_id
from tests.citus.clusters import Cluster, ask, at, dsns
from tests.citus.conftest import distribute
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database

PEERS = 12


@contextmanager
def away(url: str) -> Iterator[None]:
    """Nobody gets in, and who was in is out."""
    server = next(dsn for dsn in dsns() if at(dsn) == at(url))
    name = urlsplit(url).path[1:]
    ask(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        ask(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname=$1", name)
        yield
    finally:
        ask(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def homes(cluster: Cluster, dialogs: list[int]) -> dict[int, int]:
    """The port of each dialog's worker."""
    rows = cluster.ask(
        "SELECT d, nodeport FROM unnest($1::bigint[]) AS d JOIN pg_dist_placement AS p "
        "ON p.shardid = get_shard_id_for_distribution_column('dialog', d) "
        "JOIN pg_dist_node USING (groupid)",
        dialogs,
    )
    return {row["d"]: row["nodeport"] for row in rows}


def test_its_dialogs_wait_and_all_else_goes_on(
    empty: Cluster, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    distribute(empty)
    main = new_database(postgres_server, TEMPLATE)
    gone = empty.urls[1]
    with (
        Api(main, redis_server.url, DIALOGS_DATABASE_URL=empty.url) as api,
        Client(api.url) as anyone,
    ):
        me, *others = [anyone.user() for _ in range(PEERS + 1)]
        for other in others:
            me.send_to(other)
        home = homes(empty, [dialog_id(me.id, other.id) for other in others])
        lost_port = urlsplit(gone).port
        near = [one for one in others if home[dialog_id(me.id, one.id)] != lost_port]
        far = [one for one in others if home[dialog_id(me.id, one.id)] == lost_port]
        assert near, "no dialog on the other worker"
        assert far, "no dialog on the worker"
        wait_until(lambda: not empty.ask("SELECT FROM messageoutbox"), "the outbox is not emptied")

        with away(gone):
            for other in near:
                assert me.send_to(other, "on")["id"] == 2
                assert me.items(f"/dialogs/{other.id}/messages")[0]["content"] == "on"
            again = {"content": "later", "client_id": "one"}
            for other in far:
                answer = me.post(f"/dialogs/{other.id}/messages", json=again)
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) >= 1
            assert me.get("/dialogs").status_code == 503
            anyone.user()
            # Published and deleted, whatever the other worker does.
            living = empty.urls[2]
            wait_until(
                lambda: not ask(living, _ROWS_HERE)[0]["n"], "rows of a worker that answers stay"
            )

        for other in far:
            answer = me.post(f"/dialogs/{other.id}/messages", json=again)
            assert (answer.status_code, answer.json()["id"]) == (201, 2)
            answer = me.post(f"/dialogs/{other.id}/messages", json=again)
            assert (answer.status_code, answer.json()["id"]) == (200, 2)
        assert len(me.items("/dialogs", limit=100)) == PEERS


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
