"""All timeouts of all hops: the table in haproxy/README.md, what is set, and in which order."""

from __future__ import annotations

import re

import pytest

from hl_utils.check.haproxy import seconds
from hl_utils.servers.haproxy import CONFIGURATION
from hlfast.settings import Settings

README = CONFIGURATION.with_name("README.md")
# Settings of how long somebody is waited for that are not called a timeout.
ALSO = {"ws_ping_s", "ws_behind_s", "ws_comment_s"}


def table() -> dict[str, float]:
    """The README's rows: name, seconds."""
    rows = re.findall(r"^\| \w+ \| `([^`]+)` \| ([\d.]+) \|", README.read_text(), re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    return {name: float(value) for name, value in rows}


def configured() -> dict[str, float]:
    """What haproxy.cfg sets, by name. One that stands there twice is the same both times."""
    text = re.sub(r'"\$\{\w+-(\w+)\}"', r"\1", CONFIGURATION.read_text())
    text = re.sub(r"#.*", "", text)
    found = re.findall(
        r"(timeout [\w-]+|hold \w+|wait-for-body(?= time)|pool-purge-delay|hard-stop-after|tcp-ut)"
        r"(?: time)? (\d+\w*)",
        text,
    )
    values = {name: seconds(value) for name, value in found}
    assert all(values[name] == seconds(value) for name, value in found)
    # None that is written in another way.
    assert len(found) == len(
        re.findall(r"\b(?:timeout|hold) |wait-for|purge-delay|stop-after|tcp-ut", text)
    )
    return values


def settings() -> dict[str, float]:
    """The service's, by their variables."""
    return {
        f"HLFAST_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
        if name.endswith("_timeout_s") or name in ALSO
    }


def test_the_table_has_all_of_them() -> None:
    assert table() == configured() | settings()


@pytest.mark.parametrize(
    "ordered",
    [
        # Idle: a proxy in front (60 s), HAProxy to it, the API to any.
        ["timeout http-keep-alive", "HLFAST_IDLE_TIMEOUT_S"],
        # A few purges until none is left that nobody needs.
        ["pool-purge-delay", "timeout server", "HLFAST_IDLE_TIMEOUT_S"],
        # Of several servers that do not accept, the next one is tried before a client notices.
        ["timeout connect", "timeout check", "timeout queue"],
        # A container's server line outlives its stop and its start.
        ["HLFAST_DRAIN_TIMEOUT_S", "timeout server", "hold obsolete"],
        # Work.
        ["HLFAST_REDIS_TIMEOUT_S", "HLFAST_DATABASE_TIMEOUT_S", "timeout server"],
        ["HLFAST_EVENTS_TIMEOUT_S", "HLFAST_DATABASE_TIMEOUT_S"],
        ["HLFAST_REPLICA_TIMEOUT_S", "HLFAST_DATABASE_TIMEOUT_S"],
        # A body that a server gives up is no silent server yet.
        ["HLFAST_BODY_TIMEOUT_S", "timeout server"],
        ["HLFAST_HEAD_TIMEOUT_S", "HLFAST_IDLE_TIMEOUT_S"],
        ["HLFAST_WS_HANDSHAKE_TIMEOUT_S", "timeout server"],
    ],
)
def test_the_order(ordered: list[str]) -> None:
    values = [table()[name] for name in ordered]
    assert values == sorted(set(values))


def test_idle_connections_are_given_up_from_the_client_on() -> None:
    values = table()
    # Load balancers and nginx give up after 60 s; each hop leaves the one before a few seconds.
    in_front, front_door, api = (
        60,
        values["timeout http-keep-alive"],
        values["HLFAST_IDLE_TIMEOUT_S"],
    )
    assert in_front + 5 <= front_door
    assert front_door + 5 <= api
    # HAProxy ends an idle client's connection by the shorter of the two.
    assert values["timeout client"] >= front_door


def test_a_quiet_websocket_outlives_its_pings() -> None:
    """A ping after the silence, and as long again for the answer."""
    assert table()["timeout tunnel"] > 2 * table()["HLFAST_WS_PING_S"]


def test_a_stop_is_seen_before_the_door_closes() -> None:
    checks = re.findall(r"check inter (\w+) fastinter (\w+) fall (\d+)", CONFIGURATION.read_text())
    assert len(checks) == 2
    for inter, fastinter, fall in checks:
        seen_after_s = seconds(inter) + (int(fall) - 1) * seconds(fastinter)
        assert seen_after_s < Settings.model_fields["drain_notice_s"].default
