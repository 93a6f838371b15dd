"""What a login costs beside the hash of its password.

    python -m bench.login [--rounds 7] [--seconds 3] [--publish]

The service on one core answers logins in a closed loop; in turn, the same password is verified by
argon2 alone, on the same core. Every answer is checked. The exit status is 1 if any was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

import argon2
import asyncpg

from bench import load, processes, report, scenarios
from bench.compare import LOAD_CORE, SERVER_CORE, start_servers
from bench.contenders import CONTENDERS, OURS
from bench.database import seeded
from bench.load import WrongAnswer
from bench.report import Spread
from hl_utils.servers.redis import RedisServer
from hl_utils.user_faker import PASSWORD

USERS = 200


@dataclass(frozen=True, slots=True)
class Round:
    """CPU times in milliseconds: of the server for a login, and of argon2 for a hash."""

    logins: int
    logins_per_s: float
    login_cpu_ms: float
    hash_cpu_ms: float
    p99_ms: float


class Login:
    """A right name and password, answered with a pair of tokens."""

    def __init__(self, username: str) -> None:
        form = urlencode({"username": username, "password": PASSWORD}).encode()
        self.data = scenarios.request(
            "POST", "/login", body=form, content_type="application/x-www-form-urlencoded"
        )

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        if status != 200 or not json.loads(body)["access_token"]:
            raise WrongAnswer(f"{self.data!r}: {status} {body!r}")


def hash_cpu_ms(hashes: list[str], seconds: float) -> float:
    """CPU ms of one verification in a thread of its own core. Raises argon2's error."""
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        hasher, begun, count = argon2.PasswordHasher(), time.process_time(), 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            hasher.verify(hashes[count % len(hashes)], PASSWORD)
            count += 1
        return (time.process_time() - begun) / count * 1e3
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})


async def one_round(
    port: int, pid: int, sources: list[Iterator[Login]], hashes: list[str], seconds: float
) -> Round:
    """Hashes, and then logins. Raises WrongAnswer."""
    alone = hash_cpu_ms(hashes, seconds)
    marks: list[float] = []
    tally = await load.measure(
        port,
        sources,
        warm_up_s=0.5,
        seconds=seconds,
        mark=lambda: marks.append(processes.cpu_s(pid)),
    )
    cpu_ms = (marks[1] - marks[0]) / tally.requests * 1e3
    per_s = tally.requests / tally.seconds
    print(f"login {cpu_ms:.2f} ms, hash {alone:.2f} ms, {per_s:.0f}/s", flush=True)
    return Round(tally.requests, per_s, cpu_ms, alone, tally.percentile_ms(0.99))


async def measure(url: str, port: int, pid: int, options: argparse.Namespace) -> list[Round]:
    """Rounds of logins and of hashes in turn. Raises WrongAnswer."""
    database = await asyncpg.connect(url)
    users = await database.fetch('SELECT username, password_hash FROM "user" ORDER BY id')
    await database.close()
    sources = [
        itertools.cycle([Login(row["username"]) for row in users[start :: options.connections]])
        for start in range(options.connections)
    ]
    hashes = [row["password_hash"] for row in users]
    return [
        await one_round(port, pid, sources, hashes, options.seconds) for _ in range(options.rounds)
    ]


def main() -> int:
    """Run every login, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round, each half")
    parser.add_argument("--connections", type=int, default=4)
    report.add_out(parser, "login")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    nothing_else = {"friends": 0, "posts": 0, "dialogs": 0}
    with ExitStack() as stack:
        url = stack.enter_context(seeded(None, users=USERS, means=nothing_else))
        redis = stack.enter_context(RedisServer())
        try:
            secret = secrets.token_urlsafe(32)
            servers = start_servers(stack, [CONTENDERS[OURS]], url, redis.url, secret)
            rounds = asyncio.run(measure(url, *servers[OURS], options))
        except (WrongAnswer, RuntimeError, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        facts = report.machine() | asyncio.run(report.database_facts(url))
    method = (
        f"{options.connections} connections in a closed loop, {options.rounds} rounds of "
        f"{options.seconds:g} s, and as long argon2 alone in turn, on core {SERVER_CORE}; "
        "medians (lowest..highest). Every answer checked."
    )
    lines = [
        "| logins per second | server CPU of a login, ms | argon2 alone, ms | login / argon2 |",
        "| --- | --- | --- | --- |",
        f"| {Spread.of(one.logins_per_s for one in rounds)} "
        f"| {Spread.of(one.login_cpu_ms for one in rounds)} "
        f"| {Spread.of(one.hash_cpu_ms for one in rounds)} "
        f"| {Spread.of(one.login_cpu_ms / one.hash_cpu_ms for one in rounds)} |",
    ]
    report.write(options.out, facts, method, lines, [asdict(one) for one in rounds])
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
