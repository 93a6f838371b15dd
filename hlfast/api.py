"""The HTTP process: opens what it needs, puts the parts together, serves until it is to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import cast

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from hlfast import codec, errors, garbage, metrics, scheduling
from hlfast import settings as settings_module
from hlfast.auth.account import Authenticator, account_statuses
from hlfast.auth.passwords import Passwords
from hlfast.auth.sessions import Sessions
from hlfast.auth.throttle import FailureThrottle
from hlfast.auth.tokens import Tokens
from hlfast.batching import UNBATCHED, BatchLimits, BatchReader
from hlfast.cache import Cache
from hlfast.db import hosts, queries
from hlfast.db.database import Database
from hlfast.db.nodes import Nodes
from hlfast.db.open import open_database
from hlfast.db.replicas import ANSWERED, Replicated, open_replicated
from hlfast.dialogs.send_batch import are_sharded, may_repeat
from hlfast.dialogs.service import Dialogs
from hlfast.endpoints import ENDPOINTS
from hlfast.events.open import open_log
from hlfast.events.outbox import Outbox
from hlfast.frames import FRAMES
from hlfast.friends.service import Friends
from hlfast.lab import counted
from hlfast.lab.service import Lab, Switch
from hlfast.outboxes import open_outboxes
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

# How long a start waits for a database that is still starting itself.
_DATABASE_START_S = 30.0
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
            dispatch.add(api_paths(service, sampler, admission))
            router.routes.extend(other_routes(service, sampler))
            sampling = asyncio.create_task(sampler.run())
            watching = asyncio.create_task(watch.run())
            if settings.tuning.freeze_gc:
                garbage.freeze(True)
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


@dataclass(slots=True, kw_only=True)
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
    response_cache: ResponseCache
    # Of the reads of all features.
    limits: BatchLimits
    outbox: Outbox
    dialogs_outbox: Outbox
    passwords: Passwords
    tokens: Tokens
    authenticator: Authenticator
    features: Mapping[str, object] = field(default_factory=dict)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Everything that a request may need; closed in reverse order."""
    async with AsyncExitStack() as stack:
        main, dialogs = await _open_databases(settings, stack)
        replicated = await _open_replicas(settings, main, stack)
        cache = Cache(settings)
        stack.push_async_callback(cache.close)
        passwords = await _open_passwords(settings, main)
        stack.callback(passwords.close)
        log = open_log(settings)
        stack.push_async_callback(log.close)
        nodes = None
        if _is_postgres(settings.dialogs_url) and await are_sharded(dialogs):
            nodes = Nodes(dialogs)
            stack.push_async_callback(nodes.close)
        outbox, dialogs_outbox = await open_outboxes(settings, main, dialogs, log, stack, nodes)
        tokens = Tokens(settings)
        limits = _read_limits(settings, settings.tuning.batch_reads)
        statuses = BatchReader(partial(account_statuses, main), limits)
        service = Service(
            settings=settings,
            main=main,
            dialogs=dialogs,
            nodes=nodes,
            replicated=replicated,
            cache=cache,
            response_cache=ResponseCache(_cache_bytes(settings, settings.tuning.keep_bodies)),
            limits=limits,
            outbox=outbox,
            dialogs_outbox=dialogs_outbox,
            passwords=passwords,
            tokens=tokens,
            authenticator=Authenticator(tokens, statuses.get, settings),
        )
        service.features = _features(service, stack)
        yield service


def _features(service: Service, stack: AsyncExitStack) -> Mapping[str, object]:
    """The features that answer the rows of ENDPOINTS, by the rows' tags."""
    settings, main, dialogs = service.settings, service.main, service.dialogs
    reads = service.replicated or main
    cache, limits = service.response_cache, service.limits
    for database in (main, dialogs):
        database.load.renewed = cache.clear
    profiles = Profiles(main, cache, limits)
    # MariaDB has no statement for several pages of posts.
    page_limits = limits if _is_postgres(settings.database_url) else UNBATCHED
    posts = Posts(
        main,
        reads,
        profiles,
        service.outbox,
        cache,
        limits=limits,
        page_limits=page_limits,
        feed_posts_max=settings.feed_posts_max,
        encode_at_write=settings.tuning.encode_at_write,
        feeds_from_newest=settings.tuning.feeds_from_newest,
    )
    stack.push_async_callback(posts.close)
    return {
        "users": Users(
            main,
            reads,
            profiles,
            cache,
            service.passwords,
            Sessions(main, service.tokens, settings),
            service.authenticator,
            partial(FailureThrottle, service.cache, settings),
            search_limits=limits,
        ),
        "friends": Friends(main, service.outbox, friends_max=settings.friends_max),
        "posts": posts,
        "dialogs": Dialogs(
            dialogs,
            service.nodes,
            profiles,
            service.dialogs_outbox,
            cache,
            settings,
            # On a cluster no statement should name several dialogs.
            limits=UNBATCHED if service.nodes is not None else limits,
            sends_share=settings.tuning.batch_sends and _sends_can_share(service),
        ),
    }


def _is_postgres(url: str) -> bool:
    return queries.dialect_of(url) == "postgres"


def _sends_can_share(service: Service) -> bool:
    # On a cluster each dialog has a node of its own.
    return service.nodes is None


def _read_limits(settings: Settings, is_batched: bool) -> BatchLimits:
    if not is_batched:
        return replace(UNBATCHED)
    return BatchLimits(settings.batch_max, settings.batches_max)


def _cache_bytes(settings: Settings, is_kept: bool) -> int:
    return settings.bodies_bytes_max if is_kept else 0


async def _open_databases(settings: Settings, stack: AsyncExitStack) -> tuple[Database, Database]:
    if not settings.database_url:
        raise SettingsError("DATABASE_URL is not set and no embedded stack runs here")
    shared = settings.dialogs_url == settings.database_url
    databases = (queries.MAIN, queries.DIALOGS) if shared else (queries.MAIN,)
    main = await open_database(settings.database_url, databases, settings, wait_s=_DATABASE_START_S)
    stack.push_async_callback(main.close)
    if shared:
        return main, main
    dialogs = await hosts.open_dialogs(
        settings.dialogs_url, settings, may_repeat, _DATABASE_START_S
    )
    stack.push_async_callback(dialogs.close)
    return main, dialogs


async def _open_passwords(settings: Settings, main: Database) -> Passwords:
    """Passwords, with the parameters that every process of now and before has hashed under."""
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


def api_paths(
    service: Service, sampler: metrics.Sampler, admission: AdmissionControl
) -> Mapping[str, ASGIApp]:
    """Every path of ENDPOINTS, with the application that serves its methods."""
    features = {**service.features, "lab": _lab(service, sampler, admission)}
    return endpoint.paths(ENDPOINTS, features, service.authenticator, service.settings, sampler)


def _lab(service: Service, sampler: metrics.Sampler, admission: AdmissionControl) -> Lab:
    statuses = BatchReader(partial(account_statuses, service.main), replace(UNBATCHED))
    parts = (service.response_cache, service.limits, {service.main.load, service.dialogs.load})
    numbers = partial(counted.read, sampler, admission, *parts, service.outbox)
    return Lab(service.settings, statuses.get, numbers, _switches(service))


def _switches(service: Service) -> Mapping[str, Switch]:
    """How each method of `settings.Tuning` that works here is switched while requests come."""
    settings, features = service.settings, service.features
    posts, dialogs = cast(Posts, features["posts"]), cast(Dialogs, features["dialogs"])
    switches: dict[str, Switch] = {
        "batch_reads": lambda is_on: service.limits.change(_read_limits(settings, is_on)),
        "remember_tokens": service.authenticator.remember_tokens,
        "keep_bodies": lambda is_on: service.response_cache.bound(_cache_bytes(settings, is_on)),
        "encode_at_write": posts.encode_at_write,
        "feeds_from_newest": posts.read_feeds_from_newest,
        "freeze_gc": garbage.freeze,
    }
    if _sends_can_share(service):
        switches["batch_sends"] = dialogs.share_sends
    if scheduling.IS_KNOWN:
        switches["batch_scheduling"] = scheduling.schedule_as_batch
    return switches


def other_routes(service: Service, sampler: metrics.Sampler) -> Sequence[BaseRoute]:
    """What operators and readers of the docs ask for."""

    async def exposition() -> tuple[int, bytes, bytes]:
        sampler.share()
        return 200, metrics.CONTENT_TYPE, metrics.exposition()

    @cache
    def document() -> bytes:
        return codec.encode(asyncapi.document(FRAMES, docs.INFO, service.settings))

    async def live_contract() -> tuple[int, bytes, bytes]:
        return 200, endpoint.JSON, document()

    return [
        *health.routes(partial(_look, service)),
        Route("/metrics", PlainGet(exposition)),
        *docs.routes(ENDPOINTS),
        *pages.routes(service.settings),
        Route("/asyncapi.json", PlainGet(live_contract)),
    ]


async def _look(service: Service, *, now: bool) -> Mapping[str, bool]:
    """Every server that a request may need, by name, and whether it answers."""
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
    if isinstance(service.dialogs, hosts.Hosts):
        found |= service.dialogs.health()
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
    """The sampler of the numbers that the parts count by themselves."""
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
