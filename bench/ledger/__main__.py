"""Whether anything acknowledged is lost when servers die: `python -m bench.ledger`.

    [--events redis|rabbitmq] [--scene NAME] [--seconds 30] [--users 10] [--rate 100] [--publish]

Every answer that writers got is held against every frame that clients got. The exit status is 1 if
a client missed anything, saw it twice, out of order, or saw what had not happened.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any

from bench import report
from bench.ledger.fragile import BROKERS, Fragile, Trial, fragile, trial
from bench.ledger.ledger import Answered
from bench.ledger.reader import Balance
from bench.ledger.scenes import SCENES
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import migrate

PACKAGES = ("aio-pika", "granian", "picows", "redis", "uvloop")
STRANGERS = 30
# A client leaves of its own accord after so long, about.
STAY_S = 15.0
ARRIVES_WITHIN_S = 60.0
# Longer than any scene: the clients' tokens are not renewed.
SETTINGS = {"HLFAST_ACCESS_TOKEN_S": 36_000}
METHOD = (
    "{users} friends of each other, two clients each, {rate:.0f} changes a second asked for, "
    "faults of {seconds:.0f} s. Facts are counted once for each client that they concern; "
    "drained, silence and wait are the longest."
)
DELIVERY = (
    "event log", "scene", "acknowledged", "frames expected", "received", "reloaded over HTTP",
    "missing", "repeats dropped", "out of order", "otherwise wrong", "resumes", "recovered: false",
    "rows left at an API's death", "until drained, s", "silence, s", "from 201 to frame, s",
)  # fmt: skip
ANSWERS = (
    "event log", "scene", "the log was away, s", "requests meanwhile", "answered 2xx",
    "refused as they should be", "5xx", "no answer", "p50, ms", "p99, ms", "longest, ms",
    "all of the scene: 5xx", "no answer",
)  # fmt: skip


def table(columns: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """The results as a table of Markdown."""
    lines = [columns, ("---",) * len(columns), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def failures(answered: list[Answered]) -> tuple[int, int]:
    """Answers of 500 and above, and requests without any."""
    statuses = [one.status for one in answered]
    return sum(status >= 500 for status in statuses), statuses.count(0)


def figures(events: str, scene: str, tried: Trial, found: Balance) -> dict[str, Any]:
    """One scene, for the JSON file."""
    ledger = tried.ledger
    meanwhile = ledger.during_outages()
    errors, silent = failures(meanwhile)
    all_errors, all_silent = failures(ledger.answered)
    took_ms = sorted(one.took_s * 1000 for one in meanwhile) or [0.0]
    return {
        "events": events,
        "scene": scene,
        **asdict(found),
        "orphans": tried.orphans,
        "drains_s": tried.drains_s,
        "outage_s": sum(ended - began for began, ended in ledger.outages),
        "outage_requests": len(meanwhile),
        "outage_fine": sum(200 <= one.status < 300 for one in meanwhile),
        "outage_refused": sum(400 <= one.status < 500 for one in meanwhile),
        "outage_5xx": errors,
        "outage_no_answer": silent,
        "outage_p50_ms": median(took_ms),
        "outage_p99_ms": took_ms[len(took_ms) * 99 // 100],
        "outage_longest_ms": took_ms[-1],
        "5xx": all_errors,
        "no_answer": all_silent,
        # Since the scene began, and how long each of them waited.
        "no_answer_at_s": [
            (round(one.at - ledger.answered[0].at, 1), round(one.took_s, 1))
            for one in ledger.answered
            if not one.status
        ],
    }


def delivery_row(one: dict[str, Any]) -> list[str]:
    """The cells under DELIVERY."""
    counts = (
        "acknowledged", "expected", "received", "reloaded", "missing", "repeats", "out_of_order",
    )  # fmt: skip
    return [
        one["events"],
        one["scene"],
        *(f"{one[name]:,}" for name in counts),
        f"{len(one['wrong']):,}",
        *(f"{one[name]:,}" for name in ("resumes", "not_recovered", "orphans")),
        f"{max(one['drains_s']):.1f}",
        f"{one['longest_silence_s']:.1f}",
        f"{one['longest_wait_s']:.1f}",
    ]


def answers_row(one: dict[str, Any]) -> list[str]:
    """The cells under ANSWERS."""
    counts = ("requests", "fine", "refused", "5xx", "no_answer")
    return [
        one["events"],
        one["scene"],
        f"{one['outage_s']:.1f}",
        *(f"{one[f'outage_{name}']:,}" for name in counts),
        *(f"{one[f'outage_{name}_ms']:.1f}" for name in ("p50", "p99", "longest")),
        f"{one['5xx']:,}",
        f"{one['no_answer']:,}",
    ]


def tables(found: list[dict[str, Any]]) -> list[str]:
    """What clients got, and how the API answered while the event log was away."""
    return [
        *table(DELIVERY, [delivery_row(one) for one in found]),
        "",
        *table(ANSWERS, [answers_row(one) for one in found if one["outage_s"]]),
    ]


@contextmanager
def databases() -> Iterator[tuple[PostgresServer, str]]:
    """A PostgreSQL and the URL of a database with the tables."""
    with PostgresServer() as postgres:
        yield postgres, migrate(postgres, "bench")


async def play(
    events: str, scene: str, servers: Fragile, arguments: argparse.Namespace
) -> dict[str, Any]:
    """One scene, and its figures."""
    async with trial(
        servers,
        people=arguments.users,
        strangers=STRANGERS,
        per_s=arguments.rate,
        stay_s=STAY_S,
    ) as tried:
        await SCENES[scene](tried, arguments.seconds, round(2 * arguments.rate))
        return figures(events, scene, tried, await tried.end(ARRIVES_WITHIN_S))


def main() -> int:
    """Run, print, write; the exit status."""
    parser = argparse.ArgumentParser(
        prog="bench.ledger", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--events", choices=BROKERS, help="one event log; else both")
    parser.add_argument("--scene", choices=SCENES, help="one scene; else all")
    parser.add_argument("--seconds", type=float, default=30.0, help="of outages and random kills")
    parser.add_argument("--users", type=int, default=10, help="friends of each other")
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second, at most")
    report.add_out(parser, "ledger")
    arguments = parser.parse_args()
    facts = report.machine(PACKAGES)
    method = METHOD.format(**vars(arguments))
    found: list[dict[str, Any]] = []
    with databases() as (postgres, url):
        for events in [arguments.events] if arguments.events else BROKERS:
            for scene in [arguments.scene] if arguments.scene else SCENES:
                with fragile(events, postgres, url, api=SETTINGS, node=SETTINGS) as servers:
                    found.append(asyncio.run(play(events, scene, servers, arguments)))
                    lines = tables(found)
                    report.write(arguments.out, facts, method, lines, found)
                print(f"{events}, {scene}: {found[-1]}", file=sys.stderr)
    print("\n".join(lines))
    return int(any(one["missing"] or one["out_of_order"] or one["wrong"] for one in found))


if __name__ == "__main__":
    sys.exit(main())
