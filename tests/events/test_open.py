"""Which log a URL means."""

from __future__ import annotations

import asyncio

import pytest

from hlfast.events.open import open_log
from hlfast.events.rabbitmq import RabbitLog
from hlfast.events.redis import RedisLog
from hlfast.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("amqp://guest:guest@127.0.0.1/", RabbitLog),
        ("amqps://somewhere:5671/vhost", RabbitLog),
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


@pytest.mark.parametrize("url", ["", "http://x", "kafka://x", "localhost:5672"])
def test_anything_else_is_refused(url: str) -> None:
    """In words that name the setting."""
    with pytest.raises(SettingsError, match="EVENTS_URL"):
        open_log(Settings(events_url=url, redis_url=""))
