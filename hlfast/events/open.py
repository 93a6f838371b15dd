"""Which event log the settings mean."""

from __future__ import annotations

from urllib.parse import urlsplit

from hlfast import urls
from hlfast.events.log import EventLog
from hlfast.events.redis import RedisLog
from hlfast.settings import Settings, SettingsError


def open_log(settings: Settings) -> EventLog:
    """The event log at `events_url`, by default the same Redis; connects when first used.

    Raises SettingsError for a URL of something else, or of a server that cannot be one.
    """
    url = settings.events_url or settings.redis_url
    urls.need("EVENTS_URL", url, urls.EVENTS)
    if url.partition("://")[0].lower() in urls.RABBITMQ:
        from hlfast.events.rabbitmq import RabbitLog  # noqa: PLC0415 (see web.docs)

        return RabbitLog(servers(url), settings)
    return RedisLog(url, settings)


def servers(url: str) -> list[str]:
    """`amqp://user:password@one,other:5673/vhost` as a URL for each server. Raises SettingsError.

    No message shows any of it: a password with a slash would be taken for a port.
    """
    try:
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        found = [parts._replace(netloc=f"{user}{at}{host}") for host in hosts.split(",")]
        if all(server.hostname and server.port != 0 for server in found):
            return [server.geturl() for server in found]
    except ValueError:
        pass
    raise SettingsError("EVENTS_URL is not acceptable: each server is NAME or NAME:PORT")
