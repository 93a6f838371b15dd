"""The websocket process: opens what a node needs, listens, and drains when it is to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.config
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from http import HTTPStatus

import picows
import uvloop

from hlfast import codec, frames, logs, open_files
from hlfast.auth.account import AccountStatus, Authenticator, account_statuses
from hlfast.auth.tokens import Tokens
from hlfast.batching import BatchLimits, BatchReader
from hlfast.db import queries
from hlfast.db.database import Database
from hlfast.db.open import open_database
from hlfast.errors import Unavailable
from hlfast.events.open import open_log
from hlfast.events.publisher import Publisher
from hlfast.live import metrics, stream, upgrade
from hlfast.live.health import Health
from hlfast.live.node import Node
from hlfast.metrics import CONTENT_TYPE, Metric, Reading, gauge
from hlfast.settings import Settings, SettingsError
from hlfast.web.origins import Origins
from hlfast.websocket.listener import Answer, listen

PATH = "/ws"
# By which HAProxy's checks tell a node from an API.
SERVER = "hlfast-ws"
# What is answered here besides.
_PLAIN = ("/health/live", "/health/ready", "/health/dependencies", "/metrics")
_DATABASE_START_S = 30.0
logger = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Run the node until SIGTERM or SIGINT; the exit code.

    Raises SettingsError, and errors.Unavailable when the database does not answer in time.
    """
    if not settings.database_url:
        raise SettingsError("DATABASE_URL is not set and no embedded stack runs here")
    logging.config.dictConfig(logs.configuration(settings))
    needed = open_files.needed_by_node(settings)
    open_files.take_all("HLFAST_WS_CONNECTIONS_MAX", settings.ws_connections_max, needed)
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        node, health = await _open_node(settings, stack)
        running = asyncio.create_task(_run(node, health))
        origins = Origins(settings)
        try:
            server = await listen(
                partial(
                    _answer,
                    node,
                    health,
                    Reading(partial(_metrics, node, health)),
                    origins,
                ),
                node.limits,
                settings.ws_host,
                settings.ws_port,
                backlog=settings.ws_backlog,
                refuse=upgrade.malformed,
                trusted=settings.trusted_networks,
                streams={stream.PATH.encode(): partial(_stream, node, origins)},
            )
        except OSError as error:
            raise SettingsError(
                f"cannot listen on port {settings.ws_port}: {error.strerror}"
            ) from None
        logs.STARTED.info("Listening at: ws://%s:%d%s", settings.ws_host, settings.ws_port, PATH)
        if settings.tuning.freeze_gc:
            gc.collect()
            gc.freeze()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await node.drain(settings.drain_timeout_s)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _run(node: Node, health: Health) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run())
        group.create_task(health.run())


async def _open_node(settings: Settings, stack: AsyncExitStack) -> tuple[Node, Health]:
    main = await open_database(
        settings.database_url, (queries.MAIN,), settings, wait_s=_DATABASE_START_S
    )
    stack.push_async_callback(main.close)
    log = open_log(settings)
    stack.push_async_callback(log.close)
    tokens = Tokens(settings)
    limits = BatchLimits(settings.batch_max, sys.maxsize)
    statuses = partial(account_statuses, main)
    reader: BatchReader[int, AccountStatus] = BatchReader(statuses, limits)
    friends: BatchReader[int, Sequence[tuple[int, int]]] = BatchReader(
        partial(_friends, main), limits
    )
    node = Node(
        settings.ws_name or f"{socket.gethostname()}-{settings.ws_port}-{secrets.token_hex(3)}",
        settings,
        log,
        tokens,
        Authenticator(tokens, reader.get, settings),
        friends,
        statuses,
        frames,
    )
    publisher = Publisher(log, settings)
    stack.push_async_callback(publisher.close)
    return node, Health(node, publisher, partial(_answers, main))


async def _answers(database: Database) -> bool:
    try:
        return await database.fetch_row("ping") is not None
    except Unavailable:
        return False


def _metrics(node: Node, health: Health) -> Iterator[Metric]:
    yield from metrics.read(
        node.counts, node.writes, node.sessions, node.subscriptions, node.history, node.presence
    )
    yield gauge(
        "hlfast_ws_events_log_fails",
        "1 while the event log takes no events, or they do not come",
        not health.takes_events,
    )


async def _friends(main: Database, users: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
    """The friends of each user, with the version of each pair."""
    found: dict[int, list[tuple[int, int]]] = {}
    for user, friend, version in await main.fetch("friends_of_many", users):
        found.setdefault(user, []).append((friend, version))
    return found


def _answer(
    node: Node,
    health: Health,
    reading: Reading,
    origins: Origins,
    request: picows.WSUpgradeRequest,
) -> Answer:
    """A handshake, or somebody of ours who asks how we are."""
    path = upgrade.target_path(request)
    if path in _PLAIN and (refused := upgrade.refuse_method(request)) is not None:
        return refused
    if path == "/health/live":
        return _status(HTTPStatus.OK, "ok")
    if path == "/health/ready":
        if not health.is_ready:
            return _status(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
        return _status(HTTPStatus.OK, "ok" if health.takes_events else "degraded")
    if path == "/health/dependencies":
        found = health.dependencies()
        status = HTTPStatus.OK if all(found.values()) else HTTPStatus.SERVICE_UNAVAILABLE
        words = {name: "ok" if fine else "unavailable" for name, fine in found.items()}
        return _plain(status, "application/json", codec.encode(words))
    if path == "/metrics":
        return _plain(HTTPStatus.OK, CONTENT_TYPE.decode(), reading.exposition())
    answer = upgrade.answer(request, PATH, node.connect, origins.may_connect)
    if answer.listener is None:
        node.counts.refusals[int(answer.response.status)] += 1
    return answer


def _stream(
    node: Node, origins: Origins, request: picows.WSUpgradeRequest
) -> stream.StreamSession | Answer:
    made = stream.answer(request, node.stream, origins)
    if isinstance(made, Answer):
        node.counts.refusals[int(made.response.status)] += 1
    return made


def _status(status: HTTPStatus, word: str) -> Answer:
    return _plain(status, "application/json", codec.encode({"status": word}))


def _plain(status: HTTPStatus, content_type: str, body: bytes) -> Answer:
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": SERVER}
    if status == HTTPStatus.OK:
        response = picows.WSUpgradeResponse.create_ok_response(body, headers)
    else:
        response = picows.WSUpgradeResponse.create_error_response(status, body, headers)
    return Answer(response, None)
