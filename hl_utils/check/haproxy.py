"""HAProxy's timeouts on the way of a websocket, read from its configuration."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hl_utils.check.finding import Answers, Finding, Kind

HAPROXY_TIMEOUT = Kind(
    "haproxy-timeout",
    "error",
    "a quiet websocket is cut before its first ping",
    "set it to 1h, or HLFAST_WS_PING_S to less",
)
HAPROXY_UNREADABLE = Kind(
    "haproxy-unreadable",
    "error",
    "its timeouts were not checked",
    "mend what haproxy -c -f says of it",
)
KINDS = (HAPROXY_TIMEOUT, HAPROXY_UNREADABLE)

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+)(us|ms|s|m|h|d)?")
_VARIABLE = re.compile(r"\$\{(\w+)(?:-([^}]*))?\}|(?<=\")\$(\w+)")
_PROXIES = ("frontend", "backend", "listen")
_OTHERS = (
    *("global", "resolvers", "peers", "userlist", "mailers", "cache", "program", "http-errors"),
    *("ring", "log-forward", "fcgi-app", "crt-store", "traces"),
)
_ABOUT_WEBSOCKETS = re.compile(r"(^|[\s/])ws\b|websocket|upgrade", re.IGNORECASE)


class Unreadable(Exception):
    """What the configuration says cannot be understood; where is in the text."""


@dataclass(slots=True)
class Proxy:
    """One section, or the defaults: its lines by first word, and its timeouts in seconds."""

    kind: str
    name: str
    timeouts_s: dict[str, float] = field(default_factory=dict)
    acls: dict[str, str] = field(default_factory=dict)
    # Names of backends, each with its condition; the default one has none.
    backends: list[tuple[str, str]] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)


def look(path: Path, ping_s: float, ws_port: int) -> Answers:
    """The timeouts against the silence after which a node pings."""
    subject = path.name
    try:
        proxies = parse(path.read_text(encoding="utf-8"))
    except Unreadable as error:
        return [HAPROXY_UNREADABLE.found(subject, str(error))]
    except (OSError, UnicodeDecodeError) as error:
        return [HAPROXY_UNREADABLE.found(subject, f"cannot be read: {error}")]
    answers: list[Finding | None] = []
    for section, name, timeout_s in dict.fromkeys(_timeouts(proxies, ws_port)):
        answers.append(
            HAPROXY_TIMEOUT.unless(
                timeout_s > ping_s,
                subject,
                f"timeout {name} of {section} is {timeout_s:g} s, HLFAST_WS_PING_S is {ping_s:g} s",
            )
        )
    return answers


def parse(text: str) -> dict[str, Proxy]:
    """Frontends, backends and listens by kind and name, with what the defaults give them.

    Raises Unreadable.
    """
    variables = dict(os.environ)
    named: dict[str, Proxy] = {}
    latest = Proxy("defaults", "")
    proxies: dict[str, Proxy] = {}
    section: Proxy | None = None
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        try:
            words = shlex.split(_expanded(line, variables), comments=True)
            if not words:
                continue
            if words[0] in ("setenv", "presetenv"):
                if words[0] == "setenv" or words[1] not in variables:
                    variables[words[1]] = words[2]
            elif words[0] == "defaults" or words[0] in _PROXIES:
                section = _section(words, latest, named)
                if section.kind == "defaults":
                    latest = named[section.name] = section
                else:
                    proxies[f"{section.kind} {section.name}"] = section
            elif words[0] in _OTHERS:
                section = None
            elif section is not None:
                _read(words, section)
        except (ValueError, IndexError, KeyError) as error:
            raise Unreadable(f"line {number} is not understood: {error}") from None
    return proxies


def _expanded(line: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda m: variables.get(m[1] or m[3]) or m[2] or "", line)


def _section(words: list[str], latest: Proxy, named: dict[str, Proxy]) -> Proxy:
    kind = words[0]
    name = words[1] if len(words) > 1 and words[1] != "from" else ""
    origin = named[words[words.index("from") + 1]] if "from" in words else latest
    # Of two sections of defaults the second inherits nothing unless it says so.
    if kind == "defaults" and "from" not in words:
        origin = Proxy("defaults", "")
    return Proxy(kind, name, dict(origin.timeouts_s), backends=list(origin.backends))


def _read(words: list[str], section: Proxy) -> None:
    if words[:2] == ["http-request", "set-timeout"]:
        words = ["timeout", *words[2:]]
    match words:
        case ["timeout", name, value, *_]:
            # A rule may compute it from the request.
            if "(" not in value and "[" not in value:
                section.timeouts_s[name] = seconds(value)
        case ["acl", name, *rest]:
            section.acls[name] = f"{section.acls.get(name, '')} {' '.join(rest)}"
        case ["use_backend", name, *condition]:
            section.backends.append((name, " ".join(condition)))
        case ["default_backend", name]:
            section.backends = [one for one in section.backends if one[1]] + [(name, "")]
        case ["server", _, address, *_]:
            section.servers.append(address)
        case ["server-template", _, _, address, *_]:
            section.servers.append(address)


def seconds(value: str) -> float:
    """HAProxy's word for a time, milliseconds unless it says otherwise. Raises ValueError."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f"{value} is no time")
    return int(match[1]) * _UNITS_S[match[2] or "ms"]


def _timeouts(proxies: dict[str, Proxy], ws_port: int) -> Iterator[tuple[str, str, float]]:
    """Section, name and seconds of what cuts a quiet websocket; one not set cuts none."""
    for front, back in _ways(proxies, ws_port):
        # Once it is upgraded, this one replaces the two others.
        if "tunnel" in back.timeouts_s:
            yield f"{back.kind} {back.name}", "tunnel", back.timeouts_s["tunnel"]
            continue
        for proxy, name in ((front, "client"), (back, "server")):
            if name in proxy.timeouts_s:
                yield f"{proxy.kind} {proxy.name}", name, proxy.timeouts_s[name]


def _ways(proxies: dict[str, Proxy], ws_port: int) -> list[tuple[Proxy, Proxy]]:
    """Frontend and backend on the way of a websocket; every way if none is known for one."""
    every: list[tuple[Proxy, Proxy, str]] = []
    for front in proxies.values():
        if front.kind == "listen" and front.servers:
            every.append((front, front, ""))
        for name, condition in front.backends if front.kind != "backend" else ():
            back = proxies.get(f"backend {name}") or proxies.get(f"listen {name}")
            if back is not None:
                every.append((front, back, condition))
    of_websockets = [
        (front, back)
        for front, back, condition in every
        if _ABOUT_WEBSOCKETS.search(_spelled(condition, front.acls))
        or any(address.endswith(f":{ws_port}") for address in back.servers)
    ]
    return of_websockets or [(front, back) for front, back, _ in every]


def _spelled(condition: str, acls: dict[str, str]) -> str:
    """A condition with what its lists say instead of their names."""
    return " ".join(acls.get(word.lstrip("!"), word) for word in condition.split())
