"""What each method brings, on this machine: the laboratory.

bash build.sh lab [NAMES] [--quick | --full] [--workloads …] [--keys …] [--out DIR]
bash build.sh lab list
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench import experiments, load, report
from bench.lab import (
    agreement,
    app,
    catalog,
    curves,
    findings,
    flames,
    frames,
    handbook,
    keys,
    methods,
    ours,
    proof,
    pythons,
    quiet,
    shown,
    workloads,
)
from bench.lab import plan as plan_module
from bench.lab.arms import Arm, Kind
from bench.lab.cores import Cores
from bench.lab.measurement import sentences, take
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.report import write
from bench.lab.results import PARTS, Results
from bench.lab.run import Measuring, over_http

# Of a run: rounds, seconds of a window and of its warm-up, users, requests of a kind.
QUICK = {"rounds": 6, "seconds": 0.6, "warm_up": 0.4, "users": 5000, "requests": 2000}
FULL = {"rounds": 20, "seconds": 1.5, "warm_up": 0.8, "users": 20_000, "requests": 20_000}


def parser() -> argparse.ArgumentParser:
    """The command line of a run."""
    found = argparse.ArgumentParser(
        prog="lab",
        description=__doc__.partition("\n")[0],
        epilog=f"Also: lab {', lab '.join(COMMANDS)}, and lab NAME of any other experiment.",
        allow_abbrev=False,
    )
    found.add_argument(
        "names", nargs="*", metavar="NAMES", help="arms, or ladder, advised, left-out: `lab list`"
    )
    length = found.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="less than 5 minutes; the default")
    length.add_argument("--full", action="store_true", help="every arm, workload and population")
    found.add_argument("--workloads", nargs="+", choices=workloads.WORKLOADS)
    found.add_argument("--keys", nargs="+", choices=keys.POPULATIONS)
    rounds = found.add_mutually_exclusive_group()
    rounds.add_argument("--rounds", type=int)
    rounds.add_argument("--minutes", type=float, help="as many rounds as fit into them")
    found.add_argument("--seconds", type=float, help="of a window")
    found.add_argument("--warm-up", type=float, help="seconds before a window")
    found.add_argument("--users", type=int, help="of the population")
    found.add_argument("--requests", type=int, help="distinct ones of a kind")
    found.add_argument("--connections", type=int, default=32)
    found.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    found.add_argument(
        "--pythons", action="store_true", help="ours on every other python3.X on PATH, too"
    )
    report.add_out(found, "lab")
    return found


def plan_of(options: argparse.Namespace, more: Sequence[Arm] = ()) -> Plan:
    """The plan that the options mean. Raises KeyError for an arm that there is not."""
    usual = FULL if options.full else QUICK

    def given(name: str) -> float:
        value = getattr(options, name)
        return usual[name] if value is None else value

    asked = options.workloads or (workloads.WORKLOADS if options.full else workloads.QUICK)
    populations = options.keys or (keys.POPULATIONS if options.full else [keys.ZIPF])
    plan = Plan(
        arms=tuple(catalog.chosen(options.names, is_quick=not options.full, more=more)),
        cells=tuple(workloads.cells(asked, populations)),
        rounds=int(given("rounds")),
        seconds=given("seconds"),
        warm_up_s=given("warm_up"),
        connections=options.connections,
        users=int(given("users")),
        requests_max=int(given("requests")),
    )
    return plan if options.minutes is None else plan.fitting(options.minutes)


def ladder(words: Sequence[str]) -> int:
    """The ladder of our own service."""
    command = parser()
    options = command.parse_args(words)
    found = [pythons.with_service(one) for one in pythons.on_path()] if options.pythons else []
    try:
        plan = plan_of(options, [one.arm for one in found if not one.why_not])
    except KeyError as error:
        command.error(f"there is no arm {error}: see `lab list`")
    progress = Progress()
    cores = Cores.of_machine()
    facts = {"users": f"{plan.users:,}"}
    if options.pythons:
        said = pythons.summary(found)
        print(f"{said[0].upper()}{said[1:]}.")
        name, _, which = said.partition(": ")
        facts[name] = which
    if options.plan:
        print("\n".join(plan.lines(len(cores.all), 0)))
        return 0
    page = Page("What each method brings", facts, PARTS, has_curves=True)
    measuring = over_http(ours.opened(plan, cores, progress), with_flames=True)
    return measured(plan, cores, options.out, progress, measuring, page)


def application(words: Sequence[str]) -> int:
    """Measure somebody else's application; the exit status."""
    command = app.parser()
    options = command.parse_args(words)
    try:
        plan, asked, facts = app.plan_of(options)
    except (ValueError, OSError, RuntimeError) as error:
        command.error(str(error))
    page = Page(f"What each method brings {options.target}", facts, app.PARTS)
    measuring = over_http(app.opened(plan, asked), with_flames=True)
    return measured(plan, Cores.of_machine(), options.out, Progress(), measuring, page)


def frames_of(words: Sequence[str]) -> int:
    """Measure what a frame costs the servers of websockets; the exit status."""
    options = frames.parser().parse_args(words)
    try:
        plan = frames.plan_of(options)
    except RuntimeError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    facts = {"sockets": f"{plan.connections:,}"}
    page = Page("What a frame costs", facts, frames.PARTS, words=frames.words(plan))
    return measured(plan, Cores.of_machine(), options.out, Progress(), frames.measure, page)


def believed(words: Sequence[str]) -> int:
    """Whether the lab is to be believed."""
    command = proof.parser()
    options = command.parse_args(words)
    if options.of is not None:
        try:
            return judged(handbook.read(options.of), options)
        except (OSError, ValueError) as error:
            command.error(str(error))
    plan, cores, progress = proof.plan_of(options), Cores.of_machine(), Progress()
    measuring = over_http(ours.opened(plan, cores, progress))
    taken = take(plan, cores, report.journal(options.out), progress, measuring)
    windows = taken.journal.windows
    found = proof.proof(windows, plan.arms, options.rounds)
    if not found.same.comparisons:
        return taken.status or too_few()
    facts = report.machine() | {"commit": plan_module.commit()}
    setup = sentences(plan, cores)
    print(proof.write(options.out, found, windows, plan.arms, facts, taken.noise, setup))
    return taken.status or int(not found.holds)


def judged(document: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Judge the A/A arm of a run that was made; the exit status."""
    windows, arms = proof.of_report(document)
    found = proof.proof(windows, arms, options.rounds)
    if not found.same.comparisons:
        return too_few()
    noise = quiet.of(document["noise"])
    words = (document["method"],)
    print(proof.write(options.out, found, windows, arms, document["facts"], noise, words))
    return int(not found.holds)


def agreed(words: Sequence[str]) -> int:
    """Whether runs at different hours say the same; the exit status."""
    command = agreement.parser()
    options = command.parse_args(words)
    try:
        documents = sorted(
            map(handbook.read, options.reports), key=lambda one: one["facts"]["date"]
        )
        found = agreement.agreement(documents)
    except (OSError, ValueError) as error:
        command.error(str(error))
    print(agreement.write(options.out, found, documents))
    return int(not found.holds)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says beside figures."""

    heading: str
    facts: dict[str, str]
    parts: Mapping[Kind, tuple[str, str]]
    # Whether latency curves that were taken beside it are shown.
    has_curves: bool = False
    # How it was measured; none for requests over HTTP.
    words: tuple[str, ...] | None = None


def measured(
    plan: Plan, cores: Cores, out: Path, progress: Progress, measuring: Measuring, page: Page
) -> int:
    """Measure, and write the report of what there is."""
    journal_directory = report.journal(out)
    taken = take(plan, cores, journal_directory, progress, measuring)
    if taken.status == 1:
        return 1
    journal = taken.journal
    windows = plan.in_order(journal.windows)
    found = findings.comparisons(windows, plan.arms)
    if not found:
        return taken.status or too_few()
    results = Results(
        heading=page.heading,
        facts=report.machine() | {"commit": plan_module.commit(), **page.facts},
        words=page.words or sentences(plan, cores),
        windows=windows,
        comparisons=found,
        noise=taken.noise,
        rounds=len(journal.rounds),
        rounds_planned=plan.rounds,
        title_of=methods.title,
        parts=page.parts,
        flames=flames.read(journal_directory),
        curves=curves.read(out.parent / curves.NAME) if page.has_curves else None,
    )
    print(write(out, results))
    print(f"Written: {out / 'report.html'}, and .md, .json beside it.")
    return taken.status


def too_few() -> int:
    """Nothing can be said."""
    print("Too few rounds for a report.", file=sys.stderr)
    return 1


def curves_of(words: Sequence[str]) -> int:
    """How late answers are at each offered rate."""
    command = curves.parser()
    options = command.parse_args(words)
    plan, cores, progress = curves.plan_of(options), Cores.of_machine(), Progress()
    print(
        f"{', '.join(options.names)} at {len(curves.SHARES)} rates, {plan.rounds} rounds. "
        f"Takes about {plan_module.duration(curves.takes_s(plan))}."
    )
    looks = [quiet.look(cores.all)]
    allowed = os.sched_getaffinity(0)
    try:
        opened = ours.opened(plan, cores, progress)
        points = uvloop.run(curves.measure(plan, cores, progress, opened))
    except (load.WrongAnswer, RuntimeError, OSError) as error:
        progress.end()
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        os.sched_setaffinity(0, allowed)
    progress.end()
    noise = quiet.worst([*looks, quiet.look(cores.all)])
    facts = report.machine() | {"commit": plan_module.commit(), "users": f"{plan.users:,}"}
    print(curves.write(options.out, points, facts, noise, plan.cells[0]))
    return 0


def foreign(words: Sequence[str]) -> int:
    """Measure services that nobody here wrote; the exit status."""
    options = shown.parser().parse_args(words)
    try:
        return shown.run(options)
    except RuntimeError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1


def handbook_of(words: Sequence[str]) -> int:
    """Print the page of all methods."""
    command = handbook.parser()
    options = command.parse_args(words)
    try:
        document = handbook.read(options.report)
    except (OSError, ValueError) as error:
        command.error(str(error))
    if document["not_to_be_published"] and not options.anyway:
        command.error(f"not to be published: {' '.join(document['not_to_be_published'])}")
    print("\n".join(handbook.lines(document)))
    return 0


def listed() -> int:
    """Every arm, and every other experiment."""
    for title, arms in (
        ("The ladder, each rung one method more (`ladder` means all):", catalog.LADDER),
        ("Often advised, beside a rung (`advised`):", catalog.ADVISED),
        ("Ours without one method (`left-out`):", catalog.LEFT_OUT),
        ("What writes frames to sockets (`lab frames`):", frames.arms(has_node=True)),
    ):
        print(title)
        for arm in arms:
            beside = f" (beside {arm.without})" if arm.without else ""
            print(f"  {arm.name:<26}{beside}")
    print(f"With --pythons, {pythons.summary(list(pythons.on_path()))}.")
    print("Experiments, `bash build.sh lab NAME`:")
    for name, words in _OWN.items():
        print(f"  {name:<26} {words}")
    for one in experiments.EXPERIMENTS:
        if one.name != "lab":
            print(f"  {one.name:<26} {one.question} ({one.note})")
    return 0


def experiment(name: str, words: Sequence[str]) -> int:
    """Run another experiment, as `python -m` does; the exit status."""
    module = experiments.MODULES[name]
    assert module is not None
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        raise
    return 0


_OWN = {
    "frames": "What does a frame cost the servers that write it to a thousand sockets?",
    "curves": "How late are answers at each offered rate, beside Go and Fastify?",
    "aa": "Is the laboratory to be believed?",
    "agree": "Do runs at different hours say the same?",
    "app": "What does each method bring to your own service?",
    "foreign": "And to three services that nobody here wrote?",
    "methods": "Print bench/METHODS.md, made of a report",
}
COMMANDS = {
    "list": lambda _: listed(),
    "app": application,
    "foreign": foreign,
    "frames": frames_of,
    "aa": believed,
    "agree": agreed,
    "methods": handbook_of,
    "curves": curves_of,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Which command it is."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    if words and words[0] in experiments.MODULES:
        return experiment(words[0], words[1:])
    return ladder(words)


if __name__ == "__main__":
    sys.exit(main())
