"""RabbitMQ, by making what the event log is made of, under a name of our own, and deleting it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aio_pika
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelClosed
from aiormq.exceptions import ChannelAccessRefused, ConnectionInternalError

from hl_utils.check.finding import Answers, Kind, old
from hlfast import urls
from hlfast.events.open import servers

VERSION_MIN = (3, 9)
STREAMS_MISSING = Kind(
    "streams-missing",
    "error",
    "the event log is a stream: no event reaches a websocket",
    "rabbitmqctl enable_feature_flag stream_queue",
)
EVENTS_RIGHTS = Kind(
    "events-rights",
    "error",
    "the event log cannot be made or read: no event reaches a websocket",
    "rabbitmqctl set_permissions: configure, write and read what begins with HLFAST_EVENTS_NAME, "
    "and amq.gen",
)
KINDS = (STREAMS_MISSING, EVENTS_RIGHTS)


async def look(subject: str, url: str, events_name: str, timeout_s: float) -> Answers:
    """Everything about one broker. Raises aio-pika's CONNECTION_EXCEPTIONS, and SettingsError."""
    urls.need("its URL", url, urls.RABBITMQ)
    connection = await _connect(servers(url), events_name, timeout_s)
    try:
        properties: Any = connection.transport.connection.server_properties  # type: ignore[union-attr]
        version = _text(properties["version"])
        answers = [old(subject, "RabbitMQ", version, VERSION_MIN)]
        name = f"{events_name}.check-{secrets.token_hex(8)}"
        try:
            await _make(connection, name)
        except ChannelAccessRefused as error:
            answers.append(EVENTS_RIGHTS.found(subject, _said(error)))
        except (ChannelClosed, ConnectionInternalError) as error:
            answers.append(STREAMS_MISSING.found(subject, _said(error)))
        else:
            answers += [None, None]
        finally:
            with suppress(*CONNECTION_EXCEPTIONS):
                await _delete(connection, name)
        return answers
    finally:
        with suppress(*CONNECTION_EXCEPTIONS):
            await connection.close()


async def _make(connection: AbstractConnection, name: str) -> None:
    """What the event log does once: a stream fed by an exchange, and a queue for broadcasts."""
    channel = await connection.channel(on_return_raises=True)
    stream = await channel.declare_queue(
        name, durable=True, arguments={"x-queue-type": "stream", "x-max-length-bytes": 1_000_000}
    )
    exchange = await channel.declare_exchange(name, ExchangeType.DIRECT, durable=True)
    await stream.bind(exchange, name)
    await exchange.publish(Message(b"check"), name, mandatory=True)
    await channel.set_qos(1)
    tag = await stream.consume(_ignore, arguments={"x-stream-offset": "first"})
    await stream.cancel(tag)
    heard = await channel.declare_queue(exclusive=True, auto_delete=True)
    await heard.bind(exchange, name)
    await channel.close()


async def _ignore(_: AbstractIncomingMessage) -> None:
    """Whether it may be read is what was asked."""


async def _delete(connection: AbstractConnection, name: str) -> None:
    """What was made of it: deleting what is not there is no mistake."""
    channel = await connection.channel()
    await channel.queue_delete(name)
    await channel.exchange_delete(name)


async def _connect(
    cluster: Sequence[str], events_name: str, timeout_s: float
) -> AbstractConnection:
    """Connect to the first server of a cluster that answers, as the service does."""
    each_s = timeout_s / len(cluster)
    properties: dict[str, Any] = {"connection_name": f"{events_name} check"}
    for one in cluster[:-1]:
        with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
            return await aio_pika.connect(one, timeout=each_s, client_properties=properties)
    return await aio_pika.connect(cluster[-1], timeout=each_s, client_properties=properties)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _said(error: Exception) -> str:
    """The broker's own words in one line."""
    return " ".join(str(error).split())
