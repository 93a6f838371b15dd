"""What the manual says at psql, done on a real cluster; and servers that join by themselves."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest

from hl_utils.servers.process import ROOT
from hlfast.dialogs.dialog_ids import dialog_id
from tests.citus.clusters import Cluster, ask, at, dsns, execute, fresh
from tests.citus.conftest import distribute

MANUAL = (ROOT / "citus" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sql\n(.*?)```", MANUAL, re.DOTALL)
SPREAD = (
    "SELECT count(*) AS n FROM citus_shards WHERE table_name = 'note'::regclass "
    "GROUP BY nodename, nodeport ORDER BY 1"
)


def psql(url: str, sql: str) -> None:
    """Each statement by itself, as typed."""
    done = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def join(cluster: Cluster, url: str, host: str = "", **more: str) -> str:
    """Run the script that a server's container runs, as if it were called `host`; what it said."""
    own, master = urlsplit(url), urlsplit(cluster.url)
    variables = {
        "NODE_HOST": host or own.hostname,
        "NODE_PORT": str(own.port),
        "LOCAL_HOST": own.hostname,
        "PGUSER": own.username,
        "PGDATABASE": own.path[1:],
        **more,
    }
    if url != cluster.url:
        variables |= {"MASTER_HOST": master.hostname, "MASTER_PORT": str(master.port)}
    known = {name: value for name, value in variables.items() if value}
    done = subprocess.run(
        ["bash", ROOT / "citus" / "join.sh"],
        env={"PATH": os.environ["PATH"], **known},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_walk_of_the_manual(empty: Cluster) -> None:
    first, more, disable = BLOCKS
    for url in empty.urls[:3]:
        join(empty, url)
    psql(empty.url, first)
    try:
        assert [row["n"] for row in empty.ask(SPREAD)] == [3, 3]
        join(empty, empty.urls[3])
        psql(empty.url, more)
        assert [row["n"] for row in empty.ask(SPREAD)] == [2, 2, 2]
        psql(empty.url, disable)
        assert [row["n"] for row in empty.ask(SPREAD)] == [3, 3]
        assert empty.ask("SELECT count(*) AS n FROM note")[0]["n"] == 10_000
        nodes = empty.ask("SELECT isactive FROM pg_dist_node")
        assert [row["isactive"] for row in nodes] == [True] * 4
    finally:
        for url in empty.urls:
            psql(url, "ALTER SYSTEM RESET wal_level")


class Recipe(NamedTuple):
    """A row of the table of what people type."""

    typed: str
    happens: str
    ours: str


RECIPES = [
    Recipe(*(cell.strip() for cell in line.strip("|").split(" | ")))
    for line in MANUAL.split("## What people type")[1].split("\n## ")[0].splitlines()
    if line.startswith("| `")
]


def test_what_people_type_ends_as_the_manual_says(empty: Cluster) -> None:
    distribute(empty)
    assert len(RECIPES) > 10
    (first,) = empty.ask(
        "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY nodeid LIMIT 1"
    )

    def there(text: str) -> str:
        """Of the first worker, whose name the manual cannot know."""
        host, port = first["nodename"], first["nodeport"]
        return text.replace("'worker-1', 5432", f"'{host}', {port}").replace(
            "worker-1", f"{host}:{port}"
        )

    for recipe in RECIPES:
        (typed,) = code(recipe.typed)
        if recipe.happens.startswith("works"):
            execute(empty.url, there(typed))
        else:
            with pytest.raises(asyncpg.PostgresError) as refused:
                execute(empty.url, there(typed))
            assert code(recipe.happens)[0] in str(refused.value), recipe
            if "hint" in recipe.happens:
                assert refused.value.hint, recipe
    # What is right: nobody is refused but for a reason that the row names.
    for command in {command for recipe in RECIPES for command in code(recipe.ours)}:
        _, *argv = there(command).split()
        if "--reference-user" in argv:
            assert "of another one is impossible" in empty.refused(*argv)
        elif "remove" in argv:
            assert f"hlfast shards drain {argv[-1]}" in empty.refused(*argv)
        else:
            assert empty.shards(*argv, *(["--dry-run"] if argv != ["status"] else []))


def code(cell: str) -> list[str]:
    """What is marked as such in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_before_the_tables_are_distributed_recipes_fail_too(empty: Cluster) -> None:
    assert empty.hlfast("tables").returncode == 0
    with pytest.raises(asyncpg.PostgresError, match="because it has triggers"):
        empty.ask("SELECT create_distributed_table('message', 'id')")
    empty.ask("SELECT message_triggers(false)")
    with pytest.raises(asyncpg.PostgresError, match="do not include the partition column"):
        empty.ask("SELECT create_distributed_table('message', 'id')")


def test_a_worker_under_another_name_keeps_its_rows(empty: Cluster) -> None:
    for url in [*empty.urls[:3], empty.urls[1]]:
        join(empty, url)
    empty.shards("init")
    for one in range(1, 60):
        empty.ask(
            "SELECT * FROM message_send($1, 99, $2, 'Hi', NULL, true)", dialog_id(one, 99), one
        )
    own = urlsplit(empty.urls[1])
    # The same address in another way, for whatever address it is.
    name = hex(int(ip_address(socket.gethostbyname(own.hostname or ""))))
    join(empty, empty.urls[1], name)
    nodes = {f"{row['nodename']}:{row['nodeport']}" for row in ask(empty.url, NODES)}
    assert f"{name}:{own.port}" in nodes
    assert at(empty.urls[1]) not in nodes
    assert len(nodes) == 3
    assert empty.ask("SELECT count(*) AS n FROM message")[0]["n"] == 59
    empty.ask("SELECT * FROM message_send($1, 99, 1, 'Ho', NULL, false)", dialog_id(1, 99))


NODES = "SELECT nodename, nodeport FROM pg_dist_node"


def test_a_worker_that_was_removed_stays_out_when_it_starts_again(empty: Cluster) -> None:
    for url in empty.urls[:3]:
        join(empty, url)
    gone = at(empty.urls[2])
    empty.shards("init")
    empty.shards("count", "2")
    empty.shards("drain", gone)
    empty.shards("remove", gone)
    assert f"hlfast shards add {gone}` lets it in" in join(empty, empty.urls[2])
    assert gone not in empty.shards("status")
    empty.shards("add", gone)
    assert f"{gone} is in the cluster" in join(empty, empty.urls[2])
    assert gone in empty.shards("status")


def test_the_service_owns_its_database_and_nothing_more() -> None:
    user = f"hlfast_test_{os.getpid()}"
    try:
        with fresh() as cluster:
            for url in cluster.urls[:3]:
                for _ in range(2):
                    join(cluster, url, SERVICE_USER=user, SERVICE_PASSWORD='it\'s "a" word\\')
            ours = [of(user, url) for url in cluster.urls]
            service = Cluster(ours)
            assert "done" in service.shards("init")
            assert "done" in service.shards("count", "3")
            (sent,) = service.ask(
                "SELECT * FROM message_send($1, 1, 2, 'Hi', NULL, true)", dialog_id(1, 2)
            )
            assert sent["outcome"] == "sent"
            assert len(service.ask("SELECT FROM dialog_nodes()")) == 2
            # On every node.
            for url in ours[:3]:
                (role,) = ask(url, "SELECT * FROM pg_roles WHERE rolname = current_user")
                assert not any(role[f"rol{what}"] for what in MIGHT)
                assert not ask(url, "SELECT FROM pg_tables WHERE tableowner <> current_user "
                               "AND schemaname = 'public'")  # fmt: skip
            # What is the operator's is refused, and done by the operator.
            assert "permission denied" in service.refused("drain", cluster.workers[0])
            cluster.shards("drain", cluster.workers[0])
            service.shards("undistribute")
    finally:
        for server in dsns():
            execute(server, f"DROP ROLE IF EXISTS {user}")


MIGHT = ("super", "createdb", "createrole", "replication", "bypassrls")


def of(user: str, url: str) -> str:
    """The URL of the server for another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()
