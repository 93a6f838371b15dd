"""The HTTP process: opens what it needs, puts the parts together, serves until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from hlfast import codec, errors, profiles
from hlfast import settings as settings_module
from hlfast.auth.sessions import Sessions
from hlfast.bodies import Bodies
from hlfast.cache import Cache, FailureThrottle
from hlfast.context import Context
from hlfast.db import queries
from hlfast.db.batching import BatchReader
from hlfast.db.database import Database, Row
from hlfast.db.nodes import Nodes
from hlfast.db.open import open_database
from hlfast.db.replicas import ANSWERED, Replicated, open_replicated
from hlfast.dialogs import service as dialogs_service
from hlfast.endpoints import ENDPOINTS
from hlfast.events.batching import BatchPublisher
from hlfast.events.log import EventLog
from hlfast.events.open import open_log
from hlfast.frames import FRAMES
from hlfast.friends import service as friends_service
from hlfast.outbox import Outbox, Sweeper, Told, outbox_rows
from hlfast.passwords import Passwords
from hlfast.posts import service as posts_service
from hlfast.sending import Sender, are_sharded
from hlfast.settings import Settings, SettingsError
from hlfast.users import service as users_service
from hlfast.web import asyncapi, docs, endpoint, metrics
from hlfast.web.access import AccessLog
from hlfast.web.auth import Authenticator, Tokens
from hlfast.web.connections import ConnectionWatch
from hlfast.web.dispatch import Dispatch
from hlfast.web.draining import is_draining
from hlfast.web.edge import Edge, not_found
from hlfast.web.endpoint import PREFIX
from hlfast.web.head import SCOPE_KEY
from hlfast.web.origins import Cors, Origins
from hlfast.web.problems import MethodNotAllowed
from hlfast.web.shedding import Shedder

VERSION = "0.1.0"
# Of health and metrics: HAProxy's checks tell an API from a websocket node by it.
SERVER = b"hlfast-api"
# How long a start waits for a database that is still starting itself.
_DATABASE_START_S = 30.0
# New objects that the garbage collector looks at together.
_COLLECTED_AFTER = 20_000
K = TypeVar("K")
V = TypeVar("V")
logger = logging.getLogger(__name__)


def create() -> ASGIApp:
    """The application, from the environment: what Granian loads in each worker."""
    settings = settings_module.load()

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[None]:
        # Granian handles them from here on. They were held back since the worker was forked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        loop = asyncio.get_running_loop()
        if type(loop).__module__.partition(".")[0] != "uvloop":
            raise RuntimeError(f"the service runs on uvloop, not on {type(loop)}")
        async with open_context(settings) as context:
            sampler = _sampler(context, shedder, watch)
            dispatch.add(api_routes(context, sampler))
            router.routes.extend(other_routes(context, sampler))
            sampling = asyncio.create_task(sampler.run())
            watching = asyncio.create_task(watch.run())
            if settings.tuning.freeze_gc:
                gc.collect()
                gc.freeze()
                # What waits in an overload survives every collection: with Python's 700 they cost
                # a tenth of the time.
                gc.set_threshold(_COLLECTED_AFTER)
            yield
            watching.cancel()
            sampling.cancel()
            sampler.share()

    router = Router(default=not_found, redirect_slashes=False, lifespan=lifespan)
    dispatch = Dispatch(PREFIX, router)
    shedder, trusted = Shedder(settings), settings.trusted_networks
    watch = ConnectionWatch(settings, shedder.under_way, trusted)
    edge = Edge(dispatch, shedder)
    origins = Origins(settings)
    app: ASGIApp = Cors(edge, origins) if origins else edge
    return AccessLog(app, trusted) if settings.access_log else app


def check(settings: Settings) -> None:
    """Open and close everything once, before any worker is started.

    Raises SettingsError, and errors.Unavailable when the database does not answer in time.
    """

    async def open_and_close() -> None:
        async with open_context(settings.model_copy(update={"database_pool_size": 1})):
            pass

    asyncio.run(open_and_close())


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """Everything that a request may need; closed in reverse order."""
    async with AsyncExitStack() as stack:
        main, dialogs = await _open_databases(settings, stack)
        replicated = await _open_replicas(settings, main, stack)
        cache = Cache(settings)
        stack.push_async_callback(cache.close)
        passwords = await _open_passwords(settings, main)
        stack.callback(passwords.close)
        tokens = Tokens(settings)
        tuning = settings.tuning
        bodies = Bodies(settings.bodies_bytes_max if tuning.keep_bodies else 0)
        for database in (main, dialogs):
            database.load.renewed = bodies.clear

        def joined(
            read_many: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, enabled: bool = True
        ) -> BatchReader[K, V]:
            return BatchReader(
                read_many,
                batch_max=settings.batch_max,
                batches_max=settings.batches_max,
                enabled=enabled and tuning.batch_reads,
            )

        throttle = partial(
            FailureThrottle,
            cache,
            failures_max=settings.login_failures_max,
            window_s=settings.login_window_s,
        )
        log = open_log(settings)
        stack.push_async_callback(log.close)
        dialogs_dialect = queries.dialect_of(settings.dialogs_url)
        sharded = dialogs_dialect == "postgres" and await are_sharded(dialogs)
        nodes = Nodes(dialogs) if sharded else None
        if nodes is not None:
            stack.push_async_callback(nodes.close)
        outbox, dialogs_outbox = await open_outboxes(settings, main, dialogs, log, stack, nodes)
        sender = Sender(
            dialogs,
            partial(dialogs_service.tell_sent, dialogs_outbox),
            settings,
            joined=tuning.batch_sends and dialogs_dialect == "postgres" and not sharded,
        )
        yield Context(
            settings=settings,
            main=main,
            reads=replicated or main,
            dialogs=dialogs,
            nodes=nodes,
            outbox=outbox,
            dialogs_outbox=dialogs_outbox,
            sender=sender,
            users=joined(partial(profiles.by_ids, main, bodies)),
            searches=joined(
                partial(users_service.find, replicated or main),
                # MariaDB has no statement for several pages.
                enabled=queries.dialect_of(settings.database_url) == "postgres",
            ),
            feed_marks=joined(partial(posts_service.feed_marks, replicated or main)),
            dialog_marks=joined(partial(dialogs_service.marks, dialogs), enabled=not sharded),
            bodies=bodies,
            cache=cache,
            login_failures=throttle("failures"),
            password_failures=throttle("password-failures"),
            passwords=passwords,
            tokens=tokens,
            sessions=Sessions(main, tokens, settings),
            authenticator=Authenticator(
                tokens, joined(partial(users_service.standing, main)).get, settings
            ),
            replicated=replicated,
        )


async def _open_databases(settings: Settings, stack: AsyncExitStack) -> tuple[Database, Database]:
    if not settings.database_url:
        raise SettingsError("DATABASE_URL is not set and no embedded stack runs here")
    shared = settings.dialogs_url == settings.database_url
    rooms = (queries.MAIN, queries.DIALOGS) if shared else (queries.MAIN,)
    main = await open_database(settings.database_url, rooms, settings, wait_s=_DATABASE_START_S)
    stack.push_async_callback(main.close)
    if shared:
        return main, main
    dialogs = await open_database(
        settings.dialogs_url, (queries.DIALOGS,), settings, wait_s=_DATABASE_START_S
    )
    stack.push_async_callback(dialogs.close)
    return main, dialogs


async def _open_passwords(settings: Settings, main: Database) -> Passwords:
    """With the parameters that every process of now and before has hashed under."""
    passwords = Passwords(settings)
    try:
        rows = await main.fetch("password_parameters", passwords.parameters)
    except errors.Unavailable:
        # A database that only reads, say. Others are learnt when they are met.
        return passwords
    passwords.learn(row["parameters"] for row in rows)
    return passwords


async def _open_replicas(
    settings: Settings, main: Database, stack: AsyncExitStack
) -> Replicated | None:
    if not settings.replica_urls:
        return None
    counts = {answered: metrics.READS.labels(answered).inc for answered in ANSWERED}
    replicated = await open_replicated(main, settings, lambda answered: counts[answered]())
    stack.push_async_callback(replicated.close)
    return replicated


async def open_outboxes(
    settings: Settings,
    main: Database,
    dialogs: Database,
    log: EventLog,
    stack: AsyncExitStack,
    nodes: Nodes | None = None,
) -> tuple[Outbox, Outbox]:
    """The outboxes of both databases, and the sweep of what dead processes left in them."""
    publisher = BatchPublisher(log, settings)

    def told(row: Row) -> Told:
        kind, actor = row["kind"], row["user_id"]
        if kind.startswith("friend."):
            return friends_service.told(kind, actor, row["id"], row)
        return posts_service.told(kind, actor, row)

    async def left_in_dialogs(older_than_s: float, limit: int) -> Sequence[Row]:
        """Those of a node that is away stay there until it is back, and hold up no others."""
        asked = (older_than_s, limit)
        if nodes is None:
            return await dialogs.fetch("messageoutbox_left", *asked)
        rows, _ = await nodes.fetch("messageoutbox_left", "messageoutbox_left_of_living", *asked)
        return rows

    outboxes = [
        Outbox(
            rows,
            publisher,
            waiting_max=settings.events_queue_max,
            patience_s=settings.outbox_age_s,
            # The sweep had two opportunities.
            stuck_after_s=settings.outbox_age_s
            + 2 * (settings.outbox_sweep_s + settings.events_timeout_s),
            merged_max=settings.friend_events_max,
            # Held longer, they would be taken for those of a dead process.
            merge_window_s=min(settings.friend_events_window_s, settings.outbox_age_s / 2),
        )
        for rows in (
            outbox_rows(
                main,
                delete="outbox_delete",
                up_to="outbox_up_to",
                left=partial(main.fetch, "outbox_left"),
                told=told,
            ),
            outbox_rows(
                dialogs,
                delete="messageoutbox_delete",
                up_to="messageoutbox_up_to",
                left=left_in_dialogs,
                told=dialogs_service.told_of_row,
            ),
        )
    ]
    holder = secrets.token_hex(8)
    lease_s = settings.outbox_age_s

    async def lease() -> bool:
        return await main.fetch_row("lease_take", "sweep", holder, lease_s) is not None

    sweeper = Sweeper(
        outboxes,
        lease,
        every_s=settings.outbox_sweep_s,
        older_than_s=settings.outbox_age_s,
        limit=settings.events_batch_max,
    )
    sweeping = asyncio.create_task(sweeper.run())
    for outbox in outboxes:
        stack.push_async_callback(outbox.close)
    stack.callback(sweeping.cancel)
    return outboxes[0], outboxes[1]


def api_routes(context: Context, sampler: metrics.Sampler) -> Sequence[Route]:
    """The table's."""
    return endpoint.routes(ENDPOINTS, context, context.authenticator, context.settings, sampler)


def other_routes(context: Context, sampler: metrics.Sampler) -> Sequence[BaseRoute]:
    """What operators and readers of the docs ask for."""

    async def exposition() -> tuple[int, bytes, bytes]:
        sampler.share()
        return 200, metrics.CONTENT_TYPE, metrics.exposition()

    return [
        *_health_routes(context),
        Route("/metrics", _Answer(exposition)),
        *docs.routes(ENDPOINTS, VERSION),
        Route("/asyncapi.json", _Answer(_asyncapi)),
    ]


Answer = Callable[[], Awaitable[tuple[int, bytes, bytes]]]


class _Answer:
    """A GET without input, answered with status, content type and body."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("GET, HEAD")
        status, content_type, body = await self._answer()
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"server", SERVER),
            (b"x-request-id", scope[SCOPE_KEY].request_id),
        ]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _asyncapi() -> tuple[int, bytes, bytes]:
    return 200, endpoint.JSON, codec.encode(asyncapi.document(FRAMES, docs.TITLE, VERSION))


def _sampler(context: Context, shedder: Shedder, watch: ConnectionWatch) -> metrics.Sampler:
    """The numbers that the parts keep for themselves."""
    sampler = metrics.Sampler()
    databases = {"main": context.main}
    if context.dialogs is not context.main:
        databases["dialogs"] = context.dialogs
    for name, database in databases.items():
        load = database.load
        sampler.gauge(metrics.CONNECTIONS.labels(name), load, "in_use")
        sampler.gauge(metrics.QUEUED.labels(name), load, "queued")
        sampler.counter(metrics.WAITS.labels(name), load, "waits")
        sampler.counter(metrics.WAITED.labels(name), load, "waited_s")
    for name, outbox in {"main": context.outbox, "dialogs": context.dialogs_outbox}.items():
        sampler.counter(metrics.SWEEPS.labels(name), outbox, "sweeps")
        sampler.counter(metrics.SWEPT.labels(name), outbox, "swept")
    sampler.gauge(metrics.UNCONFIRMED, context.outbox, "unconfirmed")
    sampler.gauge(metrics.LOG_FAILS, context.outbox, "log_fails")
    sampler.gauge(metrics.PASSWORDS, context.passwords, "waiting")
    sampler.gauge(metrics.IN_PROGRESS, shedder, "in_progress")
    sampler.counter(metrics.REFUSED, shedder, "refused")
    sampler.counter(metrics.CUT, watch, "cut")
    return sampler


async def _answers(database: Database) -> bool:
    try:
        return await database.fetch_row("ping") is not None
    except errors.Unavailable:
        return False


def _health_routes(context: Context) -> list[Route]:
    async def events(now: bool) -> bool:
        outboxes = (context.outbox, context.dialogs_outbox)
        return all(await asyncio.gather(*(outbox.is_well(now=now) for outbox in outboxes)))

    checks: Mapping[str, Callable[[], Awaitable[bool]]] = {
        "database": partial(_answers, context.main),
        "dialogs": partial(_answers, context.dialogs),
        "redis": context.cache.ping,
    }

    async def look(*, now: bool) -> dict[str, bool]:
        answers = await asyncio.gather(*(check() for check in checks.values()), events(now))
        found = dict(zip((*checks, "events"), answers, strict=True))
        if context.nodes is not None:
            found |= await context.nodes.health(now=now)
        if context.replicated is not None:
            found |= await context.replicated.health()
        return found

    async def live() -> tuple[int, bytes, bytes]:
        return 200, endpoint.JSON, codec.encode({"status": "ok"})

    async def ready() -> tuple[int, bytes, bytes]:
        if is_draining():
            return 503, endpoint.JSON, codec.encode({"status": "draining"})
        found = await look(now=False)
        if not found["database"]:
            return 503, endpoint.JSON, codec.encode({"status": "unavailable"})
        status = "ok" if all(found.values()) else "degraded"
        return 200, endpoint.JSON, codec.encode({"status": status})

    async def dependencies() -> tuple[int, bytes, bytes]:
        found = await look(now=True)
        words = {name: "ok" if fine else "unavailable" for name, fine in found.items()}
        return 200 if all(found.values()) else 503, endpoint.JSON, codec.encode(words)

    return [
        Route("/health/live", _Answer(live)),
        Route("/health/ready", _Answer(ready)),
        Route("/health/dependencies", _Answer(dependencies)),
    ]
