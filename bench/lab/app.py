"""The lab for anybody's ASGI application: methods that need no change of its code.

    bash build.sh lab app package.module:app --requests FILE [--python …]

Run it where the application is started. FILE holds curl lines, a .http file or a HAR; each request
is sent many times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.lab import catalog, interpreters, keys, requests_file
from bench.lab.arms import Arm, Kind, all_running
from bench.lab.interpreters import Interpreter
from bench.lab.plan import Plan
from bench.lab.recorded import RecordedRequests
from bench.lab.requests_file import Asked
from bench.lab.workloads import Cell
from bench.lab.workplace import Workplace

CELL = Cell("your requests", "")
_WRAPPED = "lab_application:app"
PARTS = {
    Kind.ADVISED: (
        "One method at a time",
        "Each beside uvicorn on asyncio and h11 with its access log; the last, all that bring "
        "nothing but speed at once.",
    ),
    Kind.SAME: (
        "A/A: the same twice",
        "Two starts of the first arm. What is seen here is not there.",
    ),
}


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab app`."""
    found = argparse.ArgumentParser(
        prog="lab app", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("target", metavar="package.module:app")
    found.add_argument("--requests", type=Path, required=True, metavar="FILE")
    found.add_argument(
        "--python",
        action="append",
        metavar="PATH",
        help="interpreter with the application's dependencies; more of them are arms, too",
    )
    found.add_argument("--factory", action="store_true", help="app() makes the application")
    found.add_argument("--only", nargs="+", metavar="ARM", help="some of the arms")
    found.add_argument("--rounds", type=int, default=8)
    found.add_argument("--seconds", type=float, default=1.0, help="of a window")
    found.add_argument("--warm-up", type=float, default=0.5, help="seconds before a window")
    found.add_argument("--connections", type=int, default=16)
    report.add_out(found, "lab-app")
    return found


def _usual_interpreter() -> str:
    """The interpreter of the caller's virtual environment, else ours."""
    environment = os.environ.get("VIRTUAL_ENV")
    return f"{environment}/bin/python" if environment else sys.executable


def arms(target: str, given: dict[str, str], found: Sequence[Interpreter]) -> list[Arm]:
    """Every method that there is what it takes for. Raises ValueError for no server at all."""
    mine, *others = found
    if not {"uvicorn", "h11", "click"} <= mine.has:
        raise ValueError(f"uvicorn is not installed for {mine.path}, and could not be")

    def uvicorn(
        loop: str = "asyncio",
        parser: str = "h11",
        *more: str,
        app: str = target,
        of: Interpreter = mine,
    ) -> tuple[str, ...]:
        words = (app, "--port", "{port}", "--loop", loop, "--http", parser, *more)
        return of.argv("uvicorn", *words)

    def granian(loop: str, app: str = target) -> tuple[str, ...]:
        words = ("--interface", "asgi", "--http", "1", "--loop", loop, "--port", "{port}", app)
        return mine.argv("granian", *words)

    by_orjson = mine.is_fastapi and mine.has_orjson
    usual = _arm("usual", "usual", uvicorn(), given, Kind.ADVISED)
    made = [
        ("uvloop", uvicorn("uvloop"), "", "uvloop" in mine.has),
        ("httptools", uvicorn("asyncio", "httptools"), "", "httptools" in mine.has),
        ("no-access-log", uvicorn("asyncio", "h11", "--no-access-log"), "", True),
        ("granian", granian("asyncio"), "", "granian" in mine.has),
        ("workers", uvicorn("asyncio", "h11", "--workers", "2"), "", True),
        ("frozen-gc", uvicorn(app=_WRAPPED), "frozen-gc", True),
        ("batch-scheduling", uvicorn(), "batch-scheduling", sys.platform == "linux"),
        ("orjson-response", uvicorn(app=_WRAPPED), "orjson-response", by_orjson),
        (
            "all-at-once",
            granian("uvloop", _WRAPPED),
            "frozen-gc,batch-scheduling",
            {"granian", "uvloop"} <= mine.has,
        ),
    ]
    made += [(f"python-{one.version}", uvicorn(of=one), "", True) for one in others]
    result = [usual]
    for name, argv, methods, is_possible in made:
        if is_possible:
            environment = {**given, "LAB_METHODS": methods}
            one = _arm(name, name, argv, environment, Kind.ADVISED)
            result.append(replace(one, without="usual"))
        else:
            print(f"Left out: {name}, as what it takes is not there for {mine.path}.")
    return [*result, replace(catalog.same(usual), without="usual")]


def _arm(
    name: str, method: str, argv: tuple[str, ...], environment: dict[str, str], kind: Kind
) -> Arm:
    return Arm(name, method, argv, environment, kind=kind, directory=Path.cwd())


def plan_of(options: argparse.Namespace) -> tuple[Plan, list[Asked], dict[str, str]]:
    """The plan, the requests, and facts of the run. Raises ValueError, RuntimeError."""
    asked = requests_file.read(options.requests)
    given = interpreters.environment(options.target, is_factory=options.factory)
    paths = [shutil.which(one) or one for one in options.python or [_usual_interpreter()]]
    found = [interpreters.look(str(Path(one).absolute()), given) for one in paths]
    made = arms(options.target, given, found)
    if options.only:
        wanted = {"usual", catalog.AGAIN, *options.only}
        if unknown := wanted - {one.name for one in made}:
            raise ValueError(f"There is no arm {', '.join(sorted(unknown))}")
        made = [one for one in made if one.name in wanted]
    plan = Plan(
        arms=tuple(made),
        cells=(CELL,),
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        connections=options.connections,
        users=0,
        requests_max=min(len(asked), keys.HOT_KEYS),
    )
    return plan, asked, {"its Python": ", ".join(one.version for one in found)}


@asynccontextmanager
async def opened(plan: Plan, asked: Sequence[Asked]) -> AsyncIterator[Workplace]:
    """The first arm answers every request, so that all others can be held against it."""
    requests = RecordedRequests(asked)
    first = plan.arms[0]
    async with all_running([first], {}, None, {False: "", True: ""}) as running:
        await requests.record(running[first.name])
    loose = [one.name for one in requests.all if not one.is_stable]
    if loose:
        print(
            f"Answers that differ each time, of which only the status is held: {', '.join(loose)}"
        )
    yield Workplace(requests, {}, {False: "", True: ""})
