"""The acts of a fail-over, by the manual."""

from __future__ import annotations

import subprocess

from hl_utils.servers.process import wait_until
from hl_utils.servers.replicated import Cluster, Member, answered, lines_of_the_manual
from hl_utils.servers.services import Api
from tests.clients import Client

POSTS = "SELECT string_agg(id || content || privacy, ',' ORDER BY id) FROM post"


def make_synchronous(cluster: Cluster) -> None:
    """Each commit waits for one of the two."""
    cluster.manual("From asynchronous to synchronous")

    def each_is() -> bool:
        return cluster.streaming(cluster.a) == {"b": "quorum", "c": "quorum"}

    wait_until(each_is, "the standbys are not synchronous")


def promote(cluster: Cluster) -> tuple[Member, Member]:
    """The new primary, and the other one, which follows it."""
    new, other = cluster.b, cluster.c
    try:
        cluster.manual("Promote")
    except subprocess.CalledProcessError as refused:
        assert "promote that one" in refused.output
        new, other = other, new
        cluster.manual("Promote", B=new, C=other)
    lines = lines_of_the_manual("Point the other one").replace(" c", f" {other.name}")
    cluster.run(lines, B=new, C=other)
    cluster.until_followed(new, other)
    return new, other


def bring_back(cluster: Cluster, old: Member, new: Member) -> None:
    """What has a history of its own, as a standby of the new primary."""
    lines = lines_of_the_manual("Bring the old primary back").replace(" a ", f" {old.name} ")
    cluster.run(lines, on=old, B=new)
    old.start()
    cluster.until_followed(new, old)


def the_same_everywhere(primary: Member, *standbys: Member) -> None:
    """Each has the same posts, once it has replayed them."""
    posts = primary.sql(POSTS)
    for standby in standbys:
        wait_until(lambda one=standby: one.sql(POSTS) == posts, f"{standby.name} differs")


def wait_for_replicas(api: Api, client: Client) -> None:
    """Until one of them answers: on a busy machine each may come too late, and the primary does."""

    def answers() -> bool:
        before = answered(api).get("replica", 0)
        client.items("/users/search", first_name="nobody")
        return answered(api)["replica"] > before

    wait_until(answers, "no replica answers")
