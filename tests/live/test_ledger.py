"""Nothing that was acknowledged is lost, whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bench.ledger.fragile import BROKERS, Fragile, Trial, fragile, trial
from bench.ledger.ledger import Ledger
from bench.ledger.reader import Balance
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from tests.conftest import MANY_CONNECTIONS, TEMPLATE, new_database
from tests.live.conftest import API, NODE

PEOPLE = 5
AT_LEAST = 60
ARRIVES_WITHIN_S = 60.0


@pytest.fixture(params=BROKERS)
def servers(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[Fragile]:
    """Two APIs and two nodes on either event log."""
    url = new_database(postgres_server, TEMPLATE)
    api = {**API, **MANY_CONNECTIONS}
    with fragile(request.param, postgres_server, url, api=api, node=NODE) as made:
        yield made


async def _kill_one_after_the_other(tried: Trial) -> None:
    ledger, (node, _) = tried.ledger, tried.servers.nodes
    await ledger.reach(AT_LEAST)
    node.kill()
    await ledger.reach(AT_LEAST)
    await asyncio.to_thread(node.start)
    await tried.kill_between_commit_and_publish(AT_LEAST)
    await ledger.reach(AT_LEAST)
    await tried.kill_broker_and_api(AT_LEAST)
    await ledger.reach(AT_LEAST)
    await tried.hang(1)
    await ledger.reach(AT_LEAST)


def test_every_acknowledged_change_arrives(servers: Fragile) -> None:
    async def run() -> tuple[Ledger, Balance]:
        async with trial(servers, people=PEOPLE, strangers=20) as tried:
            await _kill_one_after_the_other(tried)
            return tried.ledger, await tried.end(ARRIVES_WITHIN_S)

    ledger, found = asyncio.run(run())
    assert found.is_right, found
    # Half of the clients were on the node that died.
    assert found.resumes == PEOPLE
    assert found.not_recovered == found.reloaded == 0
    assert found.received == found.expected > found.acknowledged
    assert {stream.kind for stream, facts in ledger.streams.items() if facts} == {
        "post", "message", "read", "friend",
    }  # fmt: skip
    assert set(ledger.refused) == {401, 404, 422}
    # The event log was gone, and the API was not.
    outages = [one.status for one in ledger.during_outages()]
    assert outages.count(201) > AT_LEAST
    assert not [status for status in outages if status >= 500]
    assert servers.left() == 0
    for server in (*servers.apis, *servers.nodes):
        # The libraries' own are of lost connections.
        assert f'File "{ROOT / "hlfast"}' not in server.log, server.log
