"""Which log a URL means."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hlfast.events.open import open_log
from hlfast.events.rabbitmq import RabbitLog
from hlfast.events.redis import RedisLog
from hlfast.settings import Settings, SettingsError
from tests.events.brokers import RabbitBroker, batches, in_a_loop


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("amqp://guest:guest@127.0.0.1/", RabbitLog),
        ("amqps://somewhere:5671/vhost", RabbitLog),
        ("amqp://user:word@one,other:5673,[::1]:5674/vhost", RabbitLog),
        ("redis://127.0.0.1:6379/1", RedisLog),
        ("rediss://somewhere", RedisLog),
        ("unix:///run/redis.sock", RedisLog),
    ],
)
def test_the_scheme_chooses(url: str, kind: type) -> None:
    """And nothing is connected yet."""

    async def run() -> None:
        log = open_log(Settings(events_url=url))
        assert type(log) is kind
        await log.close()

    asyncio.run(run())


def test_the_default_is_the_same_redis() -> None:
    """EVENTS_URL may be left out."""

    async def run() -> None:
        log = open_log(Settings(events_url="", redis_url="unix:///run/redis.sock"))
        assert type(log) is RedisLog
        await log.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://x",
        "kafka://x",
        "localhost:5672",
        "amqp:///vhost",
        "amqp://one,,other/",
        "amqp://one:secret/",
        "amqp://one:0,other/",
        "amqp://user:secret/secret@one/",
        "amqp://one,[::1/",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    """In words that name the setting, and nothing of it."""
    with pytest.raises(SettingsError, match="EVENTS_URL") as refused:
        open_log(Settings(events_url=url, redis_url=""))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("listens", [False, True])
def test_a_server_of_several_that_does_not_answer_is_passed_over(
    rabbit_broker: RabbitBroker, listens: bool
) -> None:
    """Whether it refuses connections or accepts them and says nothing."""

    @in_a_loop
    async def run() -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            if listens:
                silent.listen()
            hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{rabbit_broker.server.port}"
            settings = rabbit_broker.settings(events_timeout_s=5.0)
            settings.events_url = f"amqp://guest:guest@{hosts}/"
            log = open_log(settings)
            start = await log.end()
            await log.publish(b"heard")
            assert await batches(log, start, 1) == [b"heard"]
            await log.close()

    run()
