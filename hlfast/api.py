"""The HTTP process: opens what it needs, puts the parts together, serves until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from hlfast import codec, errors, metrics
from hlfast import settings as settings_module
from hlfast.auth.account import Authenticator, account_statuses
from hlfast.auth.passwords import Passwords
from hlfast.auth.sessions import Sessions
from hlfast.auth.throttle import FailureThrottle
from hlfast.auth.tokens import Tokens
from hlfast.batching import UNBATCHED, BatchLimits, BatchReader
from hlfast.cache import Cache
from hlfast.db import queries
from hlfast.db.database import Database, Row
from hlfast.db.nodes import Nodes
from hlfast.db.open import open_database
from hlfast.db.replicas import ANSWERED, Replicated, open_replicated
from hlfast.dialogs import service as dialogs_service
from hlfast.dialogs.send_batch import are_sharded
from hlfast.dialogs.service import Dialogs
from hlfast.endpoints import ENDPOINTS
from hlfast.events.log import EventLog
from hlfast.events.open import open_log
from hlfast.events.outbox import Outbox, outbox_rows
from hlfast.events.outbox_row import OutboxRow
from hlfast.events.publisher import Publisher
from hlfast.events.sweeper import Sweeper
from hlfast.frames import FRAMES
from hlfast.friends import service as friends_service
from hlfast.friends.service import Friends
from hlfast.posts import service as posts_service
from hlfast.posts.service import Posts
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings, SettingsError
from hlfast.users.service import Users
from hlfast.web import asyncapi, docs, endpoint, health, pages
from hlfast.web.access import AccessLog
from hlfast.web.admission import AdmissionControl
from hlfast.web.connections import ConnectionWatch
from hlfast.web.dispatch import Dispatch
from hlfast.web.edge import Edge, not_found
from hlfast.web.endpoint import PREFIX
from hlfast.web.origins import Cors, Origins
from hlfast.web.plain import PlainGet

VERSION = "0.1.0"
# How long a start waits for a database that is still starting itself.
_DATABASE_START_S = 30.0
# New objects that the garbage collector looks at together.
_COLLECTED_AFTER = 20_000
# By the first word of a row's kind: what makes an event of the row.
_OUTBOX_ROWS: Mapping[str, Callable[[Row], OutboxRow]] = {
    "friend": friends_service.outbox_row,
    "post": posts_service.outbox_row,
}
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
        async with open_service(settings) as service:
            sampler = _sampler(service, admission, watch)
            dispatch.add(api_paths(service, sampler))
            router.routes.extend(other_routes(service, sampler))
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
    admission, trusted = AdmissionControl(settings), settings.trusted_networks
    watch = ConnectionWatch(settings, admission.under_way, trusted)
    edge = Edge(dispatch, admission)
    origins = Origins(settings)
    app: ASGIApp = Cors(edge, origins) if origins else edge
    return AccessLog(app, trusted) if settings.access_log else app


def check(settings: Settings) -> None:
    """Open and close everything once, before any worker is started.

    Raises SettingsError, and errors.Unavailable when the database does not answer in time.
    """

    async def open_and_close() -> None:
        async with open_service(settings.model_copy(update={"database_pool_size": 1})):
            pass

    asyncio.run(open_and_close())


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the running service. `main` and `dialogs` may be one database.

    `features` by the name that their rows of ENDPOINTS have as tag. `nodes` are those of the
    cluster that the dialogs are on, `replicated` is there where replicas answer reads.
    """

    settings: Settings
    main: Database
    dialogs: Database
    nodes: Nodes | None
    replicated: Replicated | None
    cache: Cache
    outbox: Outbox
    dialogs_outbox: Outbox
    passwords: Passwords
    authenticator: Authenticator
    features: Mapping[str, object]


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Everything that a request may need; closed in reverse order."""
    async with AsyncExitStack() as stack:
        main, dialogs = await _open_databases(settings, stack)
        replicated = await _open_replicas(settings, main, stack)
        reads = replicated or main
        cache = Cache(settings)
        stack.push_async_callback(cache.close)
        passwords = await _open_passwords(settings, main)
        stack.callback(passwords.close)
        log = open_log(settings)
        stack.push_async_callback(log.close)
        is_postgres = queries.dialect_of(settings.database_url) == "postgres"
        dialogs_are_postgres = queries.dialect_of(settings.dialogs_url) == "postgres"
        sharded = dialogs_are_postgres and await are_sharded(dialogs)
        nodes = Nodes(dialogs) if sharded else None
        if nodes is not None:
            stack.push_async_callback(nodes.close)
        outbox, dialogs_outbox = await open_outboxes(settings, main, dialogs, log, stack, nodes)

        tuning = settings.tuning
        responses = ResponseCache(settings.bodies_bytes_max if tuning.keep_bodies else 0)
        for database in (main, dialogs):
            database.load.renewed = responses.clear
        limits = BatchLimits(settings.batch_max, settings.batches_max)
        limits = limits if tuning.batch_reads else UNBATCHED
        tokens = Tokens(settings)
        statuses = BatchReader(partial(account_statuses, main), limits)
        authenticator = Authenticator(tokens, statuses.get, settings)
        profiles = Profiles(main, responses, limits)
        posts = Posts(
            main,
            reads,
            profiles,
            outbox,
            responses,
            limits=limits,
            feed_posts_max=settings.feed_posts_max,
            encode_at_write=tuning.encode_at_write,
        )
        stack.push_async_callback(posts.close)
        features = {
            "users": Users(
                main,
                reads,
                profiles,
                responses,
                passwords,
                Sessions(main, tokens, settings),
                authenticator,
                partial(FailureThrottle, cache, settings),
                # MariaDB has no statement for several pages.
                search_limits=limits if is_postgres else UNBATCHED,
            ),
            "friends": Friends(main, outbox, friends_max=settings.friends_max),
            "posts": posts,
            "dialogs": Dialogs(
                dialogs,
                nodes,
                profiles,
                dialogs_outbox,
                responses,
                settings,
                limits=UNBATCHED if sharded else limits,
                sends_share=tuning.batch_sends and dialogs_are_postgres and not sharded,
            ),
        }
        yield Service(
            settings,
            main,
            dialogs,
            nodes,
            replicated,
            cache,
            outbox,
            dialogs_outbox,
            passwords,
            authenticator,
            features,
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
    publisher = Publisher(log, settings)

    def main_row(row: Row) -> OutboxRow:
        return _OUTBOX_ROWS[row["kind"].partition(".")[0]](row)

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
                outbox_row=main_row,
            ),
            outbox_rows(
                dialogs,
                delete="messageoutbox_delete",
                up_to="messageoutbox_up_to",
                left=left_in_dialogs,
                outbox_row=dialogs_service.outbox_row,
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


def api_paths(service: Service, sampler: metrics.Sampler) -> Mapping[str, ASGIApp]:
    """The paths of ENDPOINTS."""
    return endpoint.paths(
        ENDPOINTS, service.features, service.authenticator, service.settings, sampler
    )


def other_routes(service: Service, sampler: metrics.Sampler) -> Sequence[BaseRoute]:
    """What operators and readers of the docs ask for."""

    async def exposition() -> tuple[int, bytes, bytes]:
        sampler.share()
        return 200, metrics.CONTENT_TYPE, metrics.exposition()

    @cache
    def document() -> bytes:
        return codec.encode(asyncapi.document(FRAMES, docs.TITLE, VERSION, service.settings))

    async def live_contract() -> tuple[int, bytes, bytes]:
        return 200, endpoint.JSON, document()

    return [
        *health.routes(partial(_look, service)),
        Route("/metrics", PlainGet(exposition)),
        *docs.routes(ENDPOINTS, VERSION),
        *pages.routes(service.settings),
        Route("/asyncapi.json", PlainGet(live_contract)),
    ]


async def _look(service: Service, *, now: bool) -> Mapping[str, bool]:
    """Each server by name, and whether it answers."""
    outboxes = (service.outbox, service.dialogs_outbox)
    main, dialogs, redis, *events = await asyncio.gather(
        _answers(service.main),
        _answers(service.dialogs),
        service.cache.ping(),
        *(outbox.is_well(now=now) for outbox in outboxes),
    )
    found = {health.NEEDED: main, "dialogs": dialogs, "redis": redis, "events": all(events)}
    if service.nodes is not None:
        found |= await service.nodes.health(now=now)
    if service.replicated is not None:
        found |= await service.replicated.health()
    return found


async def _answers(database: Database) -> bool:
    try:
        return await database.fetch_row("ping") is not None
    except errors.Unavailable:
        return False


def _sampler(
    service: Service, admission: AdmissionControl, watch: ConnectionWatch
) -> metrics.Sampler:
    """The numbers that the parts keep for themselves."""
    sampler = metrics.Sampler()
    databases = {"main": service.main}
    if service.dialogs is not service.main:
        databases["dialogs"] = service.dialogs
    for name, database in databases.items():
        load = database.load
        sampler.gauge(metrics.CONNECTIONS.labels(name), load, "in_use")
        sampler.gauge(metrics.QUEUED.labels(name), load, "queued")
        sampler.counter(metrics.WAITS.labels(name), load, "waits")
        sampler.counter(metrics.WAITED.labels(name), load, "waited_s")
    for name, outbox in {"main": service.outbox, "dialogs": service.dialogs_outbox}.items():
        sampler.counter(metrics.SWEEPS.labels(name), outbox, "sweeps")
        sampler.counter(metrics.SWEPT.labels(name), outbox, "swept")
    sampler.gauge(metrics.UNCONFIRMED, service.outbox, "unconfirmed")
    sampler.gauge(metrics.LOG_FAILS, service.outbox, "log_fails")
    sampler.gauge(metrics.PASSWORDS, service.passwords, "waiting")
    sampler.gauge(metrics.IN_PROGRESS, admission, "in_progress")
    sampler.counter(metrics.REFUSED, admission, "refused")
    sampler.counter(metrics.CUT, watch, "cut")
    return sampler
