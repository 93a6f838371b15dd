"""This service beside others, or beside another commit of itself, in one run of interleaved rounds.

    python -m bench.compare [--peers static FastAPI ...] [--against COMMIT ...] [--keys zipf ...]

On the laboratory's rounds: every server anew in each of them, random order, one process on a core
of its own. The exit status is 1 if any answer was wrong, or if this tree is slower than a commit
beyond `--worse-than`. See bench/README.md for the method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, replace

from bench import checks, contenders, load, report, verdict
from bench.contenders import CONTENDERS, OURS, Contender, Static
from bench.lab import catalog, findings, inference, keys, ours, workloads
from bench.lab.arms import Arm, Kind, Running, all_running, of_contender
from bench.lab.cores import Cores
from bench.lab.measurement import sentences, take
from bench.lab.plan import Plan, commit
from bench.lab.progress import Progress
from bench.lab.report import document
from bench.lab.results import Results
from bench.lab.run import over_http
from bench.lab.window import Window
from bench.lab.workplace import Opened, Workplace
from bench.report import Round
from bench.rounds import DISTINCT
from bench.scenarios import Sends

# The lab's name of each.
WORKLOADS = {
    checks.USER: workloads.USER,
    checks.SEARCH: workloads.SEARCH,
    checks.FEED: workloads.FEED,
    checks.DIALOG: workloads.DIALOG,
    checks.SEND: workloads.SEND,
}
_NAMES = {workload: name for name, workload in WORKLOADS.items()}
# Connections that ask for everything once, before the first round.
_ASKING = 8


def arguments() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    rounds = parser.add_mutually_exclusive_group()
    rounds.add_argument("--rounds", type=int, default=7)
    rounds.add_argument("--minutes", type=float, help="as many rounds as fit into them")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--warm-up", type=float, default=0.4, help="seconds before a window")
    parser.add_argument("--peers", nargs="*", choices=[*CONTENDERS], default=["FastAPI"])
    parser.add_argument("--against", nargs="*", default=[], metavar="COMMIT")
    parser.add_argument("--worse-than", type=float, default=1.05, metavar="RATIO")
    parser.add_argument("--only", nargs="*", choices=checks.SCENARIOS, default=checks.SCENARIOS)
    parser.add_argument("--keys", nargs="+", choices=keys.POPULATIONS, default=keys.POPULATIONS)
    report.add_out(parser, "compare")
    options = parser.parse_args()
    if options.against and options.rounds < verdict.ROUNDS_MIN:
        parser.error(f"--against needs {verdict.ROUNDS_MIN} rounds or more for a verdict")
    return options


def plan_of(options: argparse.Namespace, running: Sequence[Contender]) -> Plan:
    """The plan of a comparison: each contender beside us, and us beside ourselves."""
    mine, *others = map(of_contender, running)
    arms = [
        mine,
        *(replace(one, without=mine.name, is_removal=True, kind=Kind.ADVISED) for one in others),
        catalog.same(mine),
    ]
    plan = Plan(
        arms=tuple(arms),
        cells=tuple(workloads.cells([WORKLOADS[name] for name in options.only], options.keys)),
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        connections=options.connections,
        users=options.users,
        requests_max=options.users,
    )
    return plan if options.minutes is None else plan.fitting(options.minutes)


@asynccontextmanager
async def checked(plan: Plan, opened: Opened) -> AsyncIterator[Workplace]:
    """The workplace, once every server has answered everything rightly, and with the same bytes."""
    async with opened as workplace:
        async with all_running(plan.arms, workplace.environment, None, workplace.urls) as running:
            for arm in plan.arms:
                if arm.kind != Kind.SAME:
                    await _check(running[arm.name], workplace)
        print("Every answer of every server is right, and the same bytes.", flush=True)
        yield workplace


async def _check(running: Running, workplace: Workplace) -> None:
    requests, database = workplace.requests, workplace.database
    assert isinstance(requests, workloads.Requests) and requests.sends is not None
    if running.arm.wrap is Static:
        await load.exhaust(running.port, [iter([Static(requests.reads[workloads.USER][0])])])
        return
    if running.arm.without is None:
        # Ours is asked for all of them, and the bytes of its answers are what others must give.
        for reads in requests.reads.values():
            await load.exhaust(running.port, [iter(reads[n::_ASKING]) for n in range(_ASKING)])
    some = {name: reads[:DISTINCT] for name, reads in requests.reads.items()}
    try:
        # Messages of their own: what was written once is not new to the next server.
        sends = Sends(requests.sends.threads)
        await checks.everything_once(database, running.port, some, sends)
    except load.WrongAnswer as error:
        raise load.WrongAnswer(f"{running.arm.name}: {error}") from error
    if running.arm.leaves_events and database is not None:
        # Or the service would wait for them.
        await database.execute("DELETE FROM messageoutbox")


def round_of(one: Window) -> Round:
    """A window as the tables show it."""
    return Round(
        scenario=_NAMES[one.workload],
        server=one.arm,
        number=one.round,
        requests=one.requests,
        requests_per_s=one.per_s,
        server_cpu_us=one.cpu_us,
        postgres_cpu_us=one.database_cpu_us,
        p50_ms=one.p50_ms,
        p99_ms=one.p99_ms,
        server_busy=one.cpu_us * one.per_s / 1e6,
        load_busy=one.load_busy,
        others_on_server_core=one.others,
        keys=one.population,
    )


def main() -> int:
    """Run, print, write."""
    options = arguments()
    cores, progress = Cores.of_machine(), Progress()
    with ExitStack() as stack:
        try:
            running = [CONTENDERS[OURS], *(CONTENDERS[name] for name in options.peers)]
            running += [stack.enter_context(contenders.commit(one)) for one in options.against]
            versions = {k: v for one in running for k, v in one.install().items()}
        except (RuntimeError, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        plan = plan_of(options, running)
        database: dict[str, str] = {}
        opened = checked(plan, ours.opened(plan, cores, progress, WORKLOADS.values(), database))
        taken = take(plan, cores, report.journal(options.out), progress, over_http(opened))
    windows = plan.in_order(taken.journal.windows)
    if taken.status == 1 or len(taken.journal.rounds) < inference.ROUNDS_MIN:
        print("Too few rounds for a table.", file=sys.stderr)
        return 1
    facts = report.machine() | {"commit": commit()} | versions | database
    found = Results(
        heading="",
        facts=facts,
        words=sentences(plan, cores),
        windows=windows,
        comparisons=findings.comparisons(windows, plan.arms),
        noise=taken.noise,
        rounds=len(taken.journal.rounds),
        rounds_planned=plan.rounds,
        title_of=" ".join,
    )
    return written(options, plan.arms, found, [round_of(one) for one in windows]) or taken.status


def written(
    options: argparse.Namespace, arms: Sequence[Arm], found: Results, rounds: Sequence[Round]
) -> int:
    """Write tables and figures; 1 if this tree is surely slower than a commit."""
    lines = [f"**Not to be published.** {one}" for one in found.warnings()]
    lines += [""] * bool(lines) + report.table(rounds, OURS)
    is_worse = False
    for one in options.against:
        if found.rounds < verdict.ROUNDS_MIN:
            continue
        verdicts = verdict.of_rounds(rounds, OURS, one, options.worse_than)
        lines += ["", verdict.CAPTION, "", *verdict.table(verdicts, OURS, one)]
        is_worse |= any(each.is_worse for costs in verdicts.values() for each in costs.values())
    method = " ".join(found.words) + " Tables: ratios of the same round, median (lowest..highest)."
    more = document.summary(found)
    report.write(options.out, found.facts, method, lines, [asdict(one) for one in rounds], more)
    print(options.out.with_suffix(".md").read_text())
    return int(is_worse)


if __name__ == "__main__":
    sys.exit(main())
