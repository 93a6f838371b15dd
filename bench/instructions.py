"""The instructions of one request, counted by callgrind: for where time is too noisy.

    python -m bench.instructions [--against COMMIT] [--only "feed page" ...] [--keys cold]

The application runs in one process under valgrind and gets its requests without HTTP, from
`bench.counted`; PostgreSQL and Redis are real, and not counted. The exit status is 1 if any answer
was wrong, or if this tree needs more than the commit beyond `--worse-than`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

from bench import checks, contenders, load, report, scenarios, verdict
from bench.contenders import CONTENDERS, OURS, Contender
from bench.database import seeded
from bench.lab import keys
from bench.load import Exchange, WrongAnswer
from bench.rounds import MEANS
from bench.scenarios import Read, Sends
from bench.verdict import Verdict
from hl_utils.servers.redis import RedisServer

# Under valgrind a process is some 50 times slower: nothing may be too late for that, and what is
# done now and then is not to fall into a window.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "HLFAST_DATABASE_TIMEOUT_S": "300",
    "HLFAST_EVENTS_TIMEOUT_S": "300",
    "HLFAST_REDIS_TIMEOUT_S": "300",
    "HLFAST_OUTBOX_AGE_S": "3600",
    "HLFAST_OUTBOX_SWEEP_S": "3600",
    "HLFAST_REVOCATION_CHECK_S": "60",
}
DIALOGS_WRITTEN = 64
# Windows that are not counted: code is specialised, tokens are verified, caches are filled.
WARM_UP = 1


@dataclass(frozen=True, slots=True)
class Count:
    """The instructions of a request, as the mean of one window on one server."""

    scenario: str
    server: str
    at_once: int
    number: int
    instructions: float


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked while one count is taken: rounds of requests that are under way at once.

    `number` is 0 or less in the warm-up.
    """

    scenario: str
    number: int
    rounds: Sequence[Sequence[Exchange]]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=2000, help="seeded")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16], help="requests")
    parser.add_argument("--requests", type=int, default=160, help="of one window")
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument(
        "--keys", choices=[keys.HOT, keys.COLD], default=keys.HOT, help="cold: none is asked twice"
    )
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--worse-than", type=float, default=1.03, metavar="RATIO")
    parser.add_argument("--only", nargs="*", choices=checks.SCENARIOS, default=checks.SCENARIOS)
    report.add_out(parser, "instructions")
    options = parser.parse_args(argv)
    if options.against and options.windows < verdict.ROUNDS_MIN:
        parser.error(f"--against needs {verdict.ROUNDS_MIN} windows or more for a verdict")
    return options


def windows(
    options: argparse.Namespace, reads: dict[str, list[Read]], sends: Sends
) -> list[Window]:
    """All that a server is asked. Windows of a scenario have the same reads, but new messages.

    With cold keys they have new reads, too. Raises ValueError if there are not enough of those.
    """
    planned: list[Window] = []
    for scenario in options.only:
        cold = iter(reads.get(scenario, ()))
        for at_once in options.at_once:
            rounds = -(-options.requests // at_once)
            messages = sends.sources(at_once)
            for number in range(1 - WARM_UP, options.windows + 1):
                sources: Sequence[Iterator[Exchange]] = messages
                if scenario != checks.SEND:
                    is_cold = options.keys == keys.COLD
                    sources = [cold if is_cold else cycle(reads[scenario])] * at_once
                try:
                    asked = [[next(source) for source in sources] for _ in range(rounds)]
                except StopIteration:
                    raise ValueError(
                        f"The database has too few for: {scenario}. Seed more."
                    ) from None
                planned.append(Window(scenario, number, asked))
    return planned


def distinct(options: argparse.Namespace) -> int:
    """How many reads of a scenario all windows need."""
    if options.keys == keys.HOT:
        return int(options.requests)
    count: int = len(options.at_once) * (WARM_UP + options.windows)
    return count * (int(options.requests) + max(options.at_once))


def addresses(database_url: str, redis_url: str) -> dict[str, str]:
    """Where the service finds its servers, as environment variables."""
    return {
        # What is answered at once is answered in the same turn of the loop each time.
        "DATABASE_URL": f"{database_url}&synchronous_commit=off",
        "REDIS_URL": redis_url,
        "HLFAST_SECRET": secrets.token_urlsafe(32),
    }


def run(server: Contender, asked: Sequence[Window], environment: dict[str, str]) -> list[float]:
    """The instructions of each window, all of its answers checked.

    Raises WrongAnswer, and RuntimeError for a tree that does not run.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "metrics").mkdir()
        plan = [[[one.data.decode("latin-1") for one in r] for r in w.rounds] for w in asked]
        (directory / "windows").write_text(json.dumps(plan))
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/count"]
        valgrind += ["--zero-before=getpriority", "--dump-before=getsid", "--instr-atstart=no"]
        counted = [sys.executable, "-P", str(Path(__file__).with_name("counted.py"))]
        done = subprocess.run(
            [*valgrind, *counted, directory / "windows", directory / "answers"],
            check=False,
            cwd=server.directory,
            env={
                **os.environ,
                **ENVIRONMENT,
                **environment,
                "HLFAST_HOME": name,
                "PROMETHEUS_MULTIPROC_DIR": f"{name}/metrics",
                "PYTHONPATH": str(server.directory),
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{server.name} does not run:\n{done.stderr[-3000:]}")
        answers = json.loads((directory / "answers").read_text())
        for window, answered in zip(asked, answers, strict=True):
            accept(server, window, answered)
        totals = [_total(directory / f"count.{n}") for n in range(1, 2 * len(asked) + 1)]
        return [both - own for own, both in zip(totals[::2], totals[1::2], strict=True)]


def accept(
    server: Contender, window: Window, answered: Sequence[Sequence[tuple[int, str]]]
) -> None:
    """Check the answers of a window. Raises WrongAnswer."""
    for exchanges, answers in zip(window.rounds, answered, strict=True):
        for exchange, (status, body) in zip(exchanges, answers, strict=True):
            try:
                exchange.accept(status, body.encode("latin-1"))
            except (WrongAnswer, ValueError) as error:
                raise WrongAnswer(f"{server.name}, {window.scenario}: {error}") from error


def _total(dump: Path) -> float:
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind counted nothing in {dump.name}")
    return float(found[1])


async def count(
    database: asyncpg.Connection,
    server: Contender,
    asked: Sequence[Window],
    sends: Sends,
    environment: dict[str, str],
) -> list[Count]:
    """Every window but the warm-up's. Raises WrongAnswer, RuntimeError."""
    before = await checks.dialogs(database, sends)
    totals = run(server, asked, environment)
    await checks.dialogs_after(database, sends, before)
    counts = []
    for window, total in zip(asked, totals, strict=True):
        at_once = len(window.rounds[0])
        each = total / (at_once * len(window.rounds))
        counts.append(Count(window.scenario, server.name, at_once, window.number, each))
    return [one for one in counts if one.number > 0]


async def count_all(
    options: argparse.Namespace, servers: Sequence[Contender], environment: dict[str, str]
) -> list[Count]:
    """Count the instructions of the same requests to each server.

    Raises WrongAnswer, RuntimeError.
    """
    database = await asyncpg.connect(environment["DATABASE_URL"])
    secret = environment["HLFAST_SECRET"]
    sends = await scenarios.sends(database, DIALOGS_WRITTEN, random.Random(2), secret)
    reads = await checks.reads(database, distinct(options), random.Random(1), secret)
    counts: list[Count] = []
    for server in servers:
        counts += await count(database, server, windows(options, reads, sends), sends, environment)
    await database.close()
    return counts


def of(counts: Sequence[Count], server: str) -> dict[tuple[str, int], list[float]]:
    """A server's counts by scenario and requests at once, in the order of the windows."""
    found: dict[tuple[str, int], list[float]] = {}
    for one in counts:
        if one.server == server:
            found.setdefault((one.scenario, one.at_once), []).append(one.instructions)
    return found


def verdicts(
    counts: Sequence[Count], against: str, worse_than: float
) -> dict[tuple[str, int], Verdict]:
    """The verdict of each scenario and number of requests at once."""
    theirs = of(counts, against)
    return {
        key: Verdict.of([a / b for a, b in zip(ours, theirs[key], strict=True)], worse_than)
        for key, ours in of(counts, OURS).items()
    }


def table(counts: Sequence[Count], against: str | None, worse_than: float) -> list[str]:
    """Instructions of a request, and what became of them."""
    names = [OURS, *([against] if against else [])]
    columns = ["", "at once", *names, *([f"{OURS} / {against}"] if against else [])]
    found = verdicts(counts, against, worse_than) if against else {}
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for scenario, at_once in of(counts, OURS):
        cells = [scenario, str(at_once)]
        for name in names:
            values = of(counts, name)[scenario, at_once]
            spread = (max(values) - min(values)) / median(values)
            cells.append(f"{median(values):,.0f} (± {spread / 2:.2%})")
        cells += [str(found[scenario, at_once])] if found else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Count every server, print the page and write it."""
    options = arguments(argv)
    if shutil.which("valgrind") is None:
        print("FAILED: valgrind is missing (Debian: apt-get install valgrind)", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        database_url = stack.enter_context(seeded(None, users=options.users, means=MEANS))
        redis = stack.enter_context(RedisServer())
        environment = addresses(database_url, redis.url)
        try:
            servers = [CONTENDERS[OURS]]
            if options.against:
                servers.append(stack.enter_context(contenders.commit(options.against)))
            counts = uvloop.run(count_all(options, servers, environment))
        except (load.WrongAnswer, RuntimeError, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        facts = report.machine() | uvloop.run(report.database_facts(database_url))
    method = (
        "Instructions of one request of this service, by callgrind, with "
        f"{options.keys} keys: {options.windows} windows of {options.requests} requests after a "
        "warm-up, every answer checked; median, half of the range."
    )
    lines = table(counts, options.against, options.worse_than)
    if options.against:
        lines = [verdict.CAPTION, "", *lines]
    report.write(options.out, facts, method, lines, [asdict(one) for one in counts])
    print(options.out.with_suffix(".md").read_text())
    found = verdicts(counts, options.against, options.worse_than) if options.against else {}
    return int(any(one.is_worse for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
