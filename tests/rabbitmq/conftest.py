"""RabbitMQ is there, or the tests fail."""

from __future__ import annotations

import pytest

from hl_utils.servers import rabbitmq


@pytest.fixture(scope="session", autouse=True)
def rabbitmq_installed() -> None:
    if not rabbitmq.installed():
        pytest.fail("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
