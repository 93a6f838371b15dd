"""Which event log the settings mean."""

from __future__ import annotations

from urllib.parse import urlsplit

from hlfast.events.log import EventLog
from hlfast.events.rabbitmq import RabbitLog
from hlfast.events.redis import RedisLog
from hlfast.settings import Settings, SettingsError

_RABBITMQ = ("amqp", "amqps")
_REDIS = ("redis", "rediss", "unix")


def open_log(settings: Settings) -> EventLog:
    """The event log at `events_url`, by default the same Redis; connects when first used.

    Raises SettingsError for a URL of something else.
    """
    url = settings.events_url or settings.redis_url
    scheme = urlsplit(url).scheme
    if scheme in _RABBITMQ:
        return RabbitLog(url, settings)
    if scheme in _REDIS:
        return RedisLog(url, settings)
    raise SettingsError("EVENTS_URL is not acceptable: it begins with amqp:// or redis://")
