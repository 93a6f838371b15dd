"""Redis, as a cache and as the event log."""

from __future__ import annotations

import time
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from hl_utils.check.finding import DURABILITY_OFF, READ_ONLY, Answers, Finding, Kind, old, skew
from hlfast import urls

# XTRIM by age.
VERSION_MIN = (6, 2)
REDIS_EVICTS = Kind(
    "redis-evicts",
    "error",
    "when its memory is full it drops the event log, and every client has to reload",
    "set maxmemory-policy noeviction; a cache that may evict is another Redis, at REDIS_URL",
)
CONFIG_HIDDEN = Kind(
    "config-hidden",
    "warning",
    "whether it evicts the event log, or loses confirmed events, was not checked",
    "look yourself: appendonly yes, appendfsync always, maxmemory-policy noeviction",
)
KINDS = (REDIS_EVICTS, CONFIG_HIDDEN)


async def look(subject: str, url: str, timeout_s: float, *, holds_log: bool) -> Answers:
    """Everything about one server. Raises RedisError, OSError, and SettingsError for a bad URL."""
    urls.need("its URL", url, urls.REDIS)
    client = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    async with client:
        before_s = time.time()
        seconds, microseconds = await client.time()
        answers = [skew(subject, before_s, seconds + microseconds / 1e6, time.time())]
        info: Any = await client.info()
        answers.append(READ_ONLY.unless(info["role"] == "master", subject, "it is a replica"))
        answers.append(old(subject, "Redis", info["redis_version"], VERSION_MIN))
        if holds_log:
            try:
                config: Any = await client.config_get("maxmemory*", "append*")
            except ResponseError:
                answers.append(CONFIG_HIDDEN.found(subject, "it does not tell its configuration"))
            else:
                answers += _as_log(subject, config)
        return answers


def _as_log(subject: str, config: dict[str, str]) -> list[Finding | None]:
    policy = config["maxmemory-policy"]
    written = {name: config[name] for name in ("appendonly", "appendfsync")}
    needed = {"appendonly": "yes", "appendfsync": "always"}
    wrong = [f"{name} {value}" for name, value in written.items() if value != needed[name]]
    return [
        REDIS_EVICTS.unless(policy == "noeviction", subject, f"maxmemory-policy {policy}"),
        DURABILITY_OFF.unless(
            not wrong,
            subject,
            ", ".join(wrong),
            "set appendonly yes and appendfsync always",
        ),
    ]
