"""What `hlfast check` finds about Redis and RabbitMQ: broken, it is found; sound, it is silent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import redis

from hl_utils.check import rabbitmq, run
from hl_utils.check import redis as redis_check
from hl_utils.check.databases import Processes
from hl_utils.servers.rabbitmq import PROGRAMS, RabbitServer
from hl_utils.servers.redis import LogRedisServer, RedisServer
from hlfast.settings import Settings
from tests.check.command import codes, found, wrong

SOUND = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}


@pytest.fixture
def settable(log_redis: LogRedisServer) -> Iterator[redis.Redis]:
    """Redis whose settings are put back afterwards."""
    with redis.Redis.from_url(log_redis.url) as client:
        yield client
        client.replicaof("NO", "ONE")
        for name, value in SOUND.items():
            client.config_set(name, value)


def test_redis_that_evicts_the_log(sound: dict[str, str], settable: redis.Redis) -> None:
    assert found(sound) == []
    settable.config_set("maxmemory-policy", "allkeys-lru")
    findings = found(sound)
    assert codes(findings) == ["redis-evicts redis"]
    assert "allkeys-lru" in findings[0]["what"]


@pytest.mark.parametrize(("name", "value"), [("appendonly", "no"), ("appendfsync", "everysec")])
def test_redis_that_loses_the_log(
    sound: dict[str, str], settable: redis.Redis, name: str, value: str
) -> None:
    settable.config_set(name, value)
    findings = found(sound)
    assert codes(findings) == ["durability-off redis"]
    assert findings[0]["what"] == f"{name} {value}"


def test_a_cache_may_evict(
    sound: dict[str, str], settable: redis.Redis, redis_server: RedisServer
) -> None:
    for name, value in (("maxmemory-policy", "allkeys-lru"), ("appendonly", "no")):
        settable.config_set(name, value)
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("appendfsync", "always")
        assert found(sound | {"EVENTS_URL": redis_server.url}) == []
        client.config_set("appendfsync", "everysec")
        assert wrong(sound | {"EVENTS_URL": redis_server.url}) == ["durability-off events"]


def test_redis_that_takes_no_writes(sound: dict[str, str], settable: redis.Redis) -> None:
    settable.replicaof("127.0.0.1", "1")
    assert wrong(sound) == ["read-only redis"]


def test_redis_that_hides_its_configuration(sound: dict[str, str], settable: redis.Redis) -> None:
    settable.acl_setuser(
        "shy", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"],
        commands=["-config"],
    )  # fmt: skip
    path = sound["REDIS_URL"].removeprefix("unix://")
    findings = found(sound | {"REDIS_URL": f"unix://shy:a-password@{path}"})
    assert [(one["code"], one["level"]) for one in findings] == [("config-hidden", "warning")]
    wrong_password = wrong(sound | {"REDIS_URL": f"unix://shy:another@{path}"})
    assert wrong_password == ["unreachable redis"]
    settable.acl_deluser("shy")


def rabbitmqctl(server: RabbitServer, *arguments: str) -> str:
    """What RabbitMQ's own tool prints."""
    done = subprocess.run(
        [str(PROGRAMS / "rabbitmqctl"), "--quiet", *arguments],
        cwd="/",
        env=server.environment(),
        check=True,
        capture_output=True,
        text=True,
        **server.home.account.spawn,
    )
    return done.stdout


def as_user(server: RabbitServer, user: str, rights: str) -> str:
    """EVENTS_URL of a user with these rights to configure, write and read."""
    rabbitmqctl(
        server,
        "eval",
        f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"a-password">>, <<"test">>),'
        f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"/">>, '
        f'<<"{rights}">>, <<"{rights}">>, <<"{rights}">>, <<"test">>).',
    )
    return server.url.replace("guest:guest", f"{user}:a-password")


def test_rabbitmq_with_streams_and_rights(
    sound: dict[str, str], rabbit_server: RabbitServer
) -> None:
    assert found(sound | {"EVENTS_URL": rabbit_server.url}) == []
    enough = as_user(rabbit_server, "enough", "^(hlfast|amq\\\\.gen)")
    assert found(sound | {"EVENTS_URL": enough}) == []
    # Of a cluster the first that answers is looked at.
    cluster = rabbit_server.url.replace("@127.0.0.1", "@nowhere.invalid,127.0.0.1:1,127.0.0.1")
    findings = found(sound | {"EVENTS_URL": cluster})
    assert [one["code"] for one in findings] == ["password-known"]
    # What was made to try was deleted.
    assert "check" not in rabbitmqctl(rabbit_server, "list_queues", "name")
    assert "check" not in rabbitmqctl(rabbit_server, "list_exchanges", "name")


def test_rabbitmq_without_rights(sound: dict[str, str], rabbit_server: RabbitServer) -> None:
    url = as_user(rabbit_server, "other", "^other")
    findings = found(sound | {"EVENTS_URL": url})
    assert codes(findings) == ["events-rights events"]
    assert "a-password" not in str(findings)
    assert found(sound | {"EVENTS_URL": url, "HLFAST_EVENTS_NAME": "other"}) != []
    stranger = rabbit_server.url.replace("guest:guest", "nobody:a-password")
    assert wrong(sound | {"EVENTS_URL": stranger}) == ["unreachable events"]


class StreamlessServer(RabbitServer):
    """A node on which streams were never enabled, as after an upgrade from 3.8."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"RABBITMQ_FEATURE_FLAGS": "quorum_queue"}


def test_rabbitmq_without_streams(sound: dict[str, str]) -> None:
    with StreamlessServer() as server:
        assert wrong(sound | {"EVENTS_URL": server.url}) == ["streams-missing events"]
        rabbitmqctl(server, "enable_feature_flag", "stream_queue")
        assert found(sound | {"EVENTS_URL": server.url}) == []


def test_servers_that_are_too_old(
    sound: dict[str, str],
    rabbit_server: RabbitServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """None are to be had: so these are held against versions that are still to come."""
    settings = Settings(
        database_url=sound["DATABASE_URL"],
        redis_url=sound["REDIS_URL"],
        secret=sound["HLFAST_SECRET"],
        events_url=rabbit_server.url,
    )
    monkeypatch.setattr(redis_check, "VERSION_MIN", (999,))
    monkeypatch.setattr(rabbitmq, "VERSION_MIN", (999,))
    assert run.check(settings, Processes(), json=True) == 1
    assert capsys.readouterr().out.count('"version-old"') == 2
