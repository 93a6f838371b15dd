"""Every arm that the lab knows: the ladder, what is often advised, and ours without one method."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from bench import contenders
from bench.lab.arms import Arm, Kind
from bench.lab.workloads import Zipped

_PYTHON = (sys.executable, "-m")
_PEER = "bench.peers.fastapi.app:app"
_DEPENDENCIES = "bench.lab.rungs.dependencies:app"
_ROUTES = "bench.lab.rungs.routes:app"
_PLAIN = "bench.lab.rungs.plain:app"
_OURS = contenders.CONTENDERS[contenders.OURS]
# An A/A arm: the last rung once more. Between the two there is nothing to see.
AGAIN = "again"


def _uvicorn(app: str, loop: str, parser: str, *more: str) -> tuple[str, ...]:
    words = ("uvicorn", app, "--port", "{port}", "--loop", loop, "--http", parser)
    return (*_PYTHON, *words, *more)


def _granian(app: str) -> tuple[str, ...]:
    words = ("granian", "--interface", "asgi", "--loop", "uvloop", "--http", "1", "--no-ws")
    return (*_PYTHON, *words, "--port", "{port}", app)


def _gunicorn(app: str, workers: str) -> tuple[str, ...]:
    """The command of Gunicorn, whose worker takes uvloop and httptools, and logs no request."""
    words = ("gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "--workers", workers)
    return (*_PYTHON, *words, "--bind", "127.0.0.1:{port}", app)


def _chain(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Arms of which each is compared with the one before."""
    first, *others = arms
    names = [one.name for one in arms]
    return (
        replace(first, without=None),
        *(replace(one, without=before) for one, before in zip(others, names, strict=False)),
    )


# The switches of an API process, in the order in which the ladder turns them on: all of
# hlfast.settings.Tuning but those of a websocket node alone, which are in bench.lab.frames.
SWITCHES = {
    "remember_tokens": "tokens",
    "batch_reads": "batched-reads",
    "encode_at_write": "encoded-at-write",
    "feeds_from_newest": "newest-first",
    "keep_bodies": "kept-answers",
    "batch_sends": "batched-sends",
    "freeze_gc": "frozen-gc",
    "batch_scheduling": "batch-scheduling",
}


def _switches(on: Sequence[str]) -> dict[str, str]:
    return {f"HLFAST_TUNING__{name.upper()}": str(name in on).lower() for name in SWITCHES}


def _service(name: str, method: str, on: Sequence[str]) -> Arm:
    return Arm(
        name,
        method,
        _OURS.argv,
        _switches(on),
        leaves_events=False,
        by_socket=True,
    )


def _rung(name: str, argv: tuple[str, ...], *methods: str) -> Arm:
    given = {"LAB_METHODS": ",".join(methods)}
    return Arm(name, name, argv, given, by_socket="unix-socket" in methods)


_SOCKET = ("pool", "prepared", "planned-once", "unix-socket")
_ON = list(SWITCHES)
LADDER = _chain(
    [
        _rung("usual", _uvicorn(_PEER, "asyncio", "h11")),
        _rung("uvloop", _uvicorn(_PEER, "uvloop", "h11")),
        _rung("httptools", _uvicorn(_PEER, "uvloop", "httptools")),
        _rung("no-access-log", _uvicorn(_PEER, "uvloop", "httptools", "--no-access-log")),
        _rung("granian", _granian(_PEER)),
        _rung("plain-sql", _granian(_DEPENDENCIES)),
        _rung("pool", _granian(_DEPENDENCIES), *_SOCKET[:1]),
        _rung("prepared", _granian(_DEPENDENCIES), *_SOCKET[:2]),
        _rung("planned-once", _granian(_DEPENDENCIES), *_SOCKET[:3]),
        _rung("unix-socket", _granian(_DEPENDENCIES), *_SOCKET),
        _rung("orjson", _granian(_DEPENDENCIES), *_SOCKET, "orjson"),
        _rung("no-dependencies", _granian(_ROUTES), *_SOCKET, "orjson"),
        _rung("plain-asgi", _granian(_PLAIN), *_SOCKET, "orjson"),
        _service("whole-service", "whole-service", []),
        *(_service(method, method, _ON[: n + 1]) for n, method in enumerate(SWITCHES.values())),
    ]
)
FIRST, OURS = LADDER[0].name, LADDER[-1].name
_SERVED = LADDER[3]
_PLAIN_SQL = LADDER[5]


def _advised(name: str, arm: Arm, *more: str) -> Arm:
    return Arm(
        name,
        name,
        (*arm.argv, *more),
        {"LAB_METHODS": name},
        without=arm.name,
        kind=Kind.ADVISED,
    )


ADVISED = (
    _advised("workers", _SERVED, "--workers", "2"),
    replace(_advised("gunicorn", _SERVED), argv=_gunicorn(_PEER, "2")),
    _advised("orjson-response", _PLAIN_SQL),
    _advised("no-response-model", _PLAIN_SQL),
    _advised("redis-cache", _PLAIN_SQL),
    replace(_advised("gzip", _PLAIN_SQL), wrap=Zipped),
    Arm(
        "def-dependency",
        "async-dependencies",
        _PLAIN_SQL.argv,
        {"LAB_METHODS": "def-dependency"},
        without=_PLAIN_SQL.name,
        is_removal=True,
        kind=Kind.ADVISED,
    ),
)
LEFT_OUT = tuple(
    replace(
        _service(f"without-{method}", method, [one for one in _ON if one != switch]),
        without=OURS,
        is_removal=True,
        kind=Kind.LEFT_OUT,
    )
    for switch, method in SWITCHES.items()
)


def same(arm: Arm) -> Arm:
    """The arm once more, to be held against itself: there is nothing to see."""
    return replace(
        arm, name=AGAIN, method="nothing", without=arm.name, is_removal=False, kind=Kind.SAME
    )


SAME = same(LADDER[-1])
ARMS = {one.name: one for one in (*LADDER, *ADVISED, *LEFT_OUT, SAME)}
GROUPS = {"ladder": LADDER, "advised": ADVISED, "left-out": LEFT_OUT}
# Twelve rungs, which take less than five minutes.
QUICK = (
    "usual", "uvloop", "httptools", "no-access-log", "granian", "plain-sql", "unix-socket",
    "orjson", "plain-asgi", "whole-service", "kept-answers", "batch-scheduling",
)  # fmt: skip


def chosen(names: Sequence[str], *, is_quick: bool, more: Sequence[Arm] = ()) -> list[Arm]:
    """The arms of a run, in the catalogue's order, and what they are held against.

    Of rungs that are left out the next one takes the methods with its own. `more`: arms that only
    this machine has. Raises KeyError.
    """
    wanted = set(names or (QUICK if is_quick else ARMS))
    for group, arms in GROUPS.items():
        if group in wanted:
            wanted = (wanted - {group}) | {one.name for one in arms}
    wanted |= {one.without for one in more if one.without is not None}
    for name in list(wanted):
        without = ARMS[name].without
        if ARMS[name].kind != Kind.LADDER and without is not None:
            wanted.add(without)
    ladder = [one for one in LADDER if one.name in wanted]
    others = [one for one in (*ADVISED, *LEFT_OUT) if one.name in wanted]
    # Without ours, the highest rung is the one that stands beside itself.
    top = ladder[-1]
    return [*_chain(ladder), *others, *more, same(top)]


def methods_of(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """The methods of each arm's step on the ladder, those of rungs left out included."""
    names = [one.name for one in LADDER]
    found: dict[str, list[str]] = {}
    for one in arms:
        if one.kind == Kind.LADDER and one.without in names:
            start, end = names.index(one.without) + 1, names.index(one.name) + 1
            found[one.name] = [rung.method for rung in LADDER[start:end]]
        else:
            found[one.name] = [one.method]
    return found
