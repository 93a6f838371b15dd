"""The page at `/` with RabbitMQ under it: two people, live, also after the broker was restarted."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from tests.conftest import TEMPLATE, new_database
from tests.web.page import Pair, open_site

pytestmark = pytest.mark.one_database


def test_two_people_before_and_after_a_restart(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    rabbit_server: RabbitServer,
    tmp_path: Path,
) -> None:
    database = new_database(postgres_server, TEMPLATE)
    with open_site(database, redis_server.url, rabbit_server, tmp_path) as site:
        pair = Pair.of(site)
        pair.talk()
        pair.ada.at(f"#/messages/{pair.bob_api.id}")
        rabbit_server.stop(signal.SIGKILL)
        try:
            pair.bob_api.send_to(pair.ada_api, "While the broker was away")
        finally:
            rabbit_server.start()
        pair.both_live()
        pair.ada.sees("While the broker was away", "//ol")
        pair.talk()
        assert pair.ada.count("While the broker was away") <= 1
