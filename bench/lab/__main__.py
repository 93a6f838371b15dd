"""What each method brings, on this machine: the laboratory.

bash build.sh lab [NAMES] [--quick | --full] [--workloads …] [--keys …] [--out DIR]
bash build.sh lab list
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load, report
from bench.lab import app, catalog, findings, keys, methods, ours, proof, quiet, run, workloads
from bench.lab import plan as plan_module
from bench.lab.arms import Kind
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.quiet import Quiet
from bench.lab.report import write
from bench.lab.results import PARTS, Results
from bench.lab.workplace import Opened

# Of a run: rounds, seconds of a window and of its warm-up, users, requests of a kind.
QUICK = {"rounds": 6, "seconds": 0.6, "warm_up": 0.4, "users": 5000, "requests": 2000}
FULL = {"rounds": 20, "seconds": 1.5, "warm_up": 0.8, "users": 20_000, "requests": 20_000}


def parser() -> argparse.ArgumentParser:
    """The command line of a run."""
    found = argparse.ArgumentParser(
        prog="lab", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    found.add_argument("names", nargs="*", metavar="NAMES", help="arms; see `lab list`")
    length = found.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="less than 5 minutes; the default")
    length.add_argument("--full", action="store_true", help="every arm, workload and population")
    found.add_argument("--workloads", nargs="+", choices=workloads.WORKLOADS)
    found.add_argument("--keys", nargs="+", choices=keys.POPULATIONS)
    found.add_argument("--rounds", type=int)
    found.add_argument("--seconds", type=float, help="of a window")
    found.add_argument("--warm-up", type=float, help="seconds before a window")
    found.add_argument("--users", type=int, help="of the population")
    found.add_argument("--requests", type=int, help="distinct ones of a kind")
    found.add_argument("--connections", type=int, default=32)
    found.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    report.add_out(found, "lab")
    return found


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options mean. Raises KeyError for an arm that there is not."""
    usual = FULL if options.full else QUICK

    def given(name: str) -> float:
        value = getattr(options, name)
        return usual[name] if value is None else value

    asked = options.workloads or (workloads.WORKLOADS if options.full else workloads.QUICK)
    populations = options.keys or (keys.POPULATIONS if options.full else [keys.ZIPF])
    return Plan(
        arms=tuple(catalog.chosen(options.names, is_quick=not options.full)),
        cells=tuple(workloads.cells(asked, populations)),
        rounds=int(given("rounds")),
        seconds=given("seconds"),
        warm_up_s=given("warm_up"),
        connections=options.connections,
        users=int(given("users")),
        requests_max=int(given("requests")),
    )


def ladder(words: Sequence[str]) -> int:
    """The ladder of our own service."""
    command = parser()
    options = command.parse_args(words)
    try:
        plan = plan_of(options)
    except KeyError as error:
        command.error(f"there is no arm {error}: see `lab list`")
    progress = Progress()
    cores = Cores.of_machine()
    if options.plan:
        print("\n".join(plan.lines(len(cores.all), 0)))
        return 0
    page = Page("What each method brings", {"users": f"{plan.users:,}"}, PARTS)
    opened = ours.opened(plan, cores, progress)
    return measured(plan, cores, options.out, progress, opened, page)


def application(words: Sequence[str]) -> int:
    """Somebody else's application."""
    command = app.parser()
    options = command.parse_args(words)
    try:
        plan, asked = app.plan_of(options)
    except (ValueError, OSError, RuntimeError) as error:
        command.error(str(error))
    page = Page(f"What each method brings {options.target}", {}, app.PARTS)
    return measured(
        plan, Cores.of_machine(), options.out, Progress(), app.opened(plan, asked), page
    )


def believed(words: Sequence[str]) -> int:
    """Whether the lab is to be believed."""
    options = proof.parser().parse_args(words)
    plan, cores, progress = proof.plan_of(options), Cores.of_machine(), Progress()
    taken = take(plan, cores, options.out, progress, ours.opened(plan, cores, progress))
    found = proof.proof(taken.journal.windows, plan.arms, options.rounds)
    if not found.same.comparisons:
        return taken.status or too_few()
    facts = report.machine() | {"commit": plan_module.commit()}
    told = sentences(plan, cores)
    print(proof.write(options.out, found, taken.journal.windows, facts, taken.noise, told))
    return taken.status or int(not found.holds)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says beside figures."""

    heading: str
    facts: dict[str, str]
    parts: Mapping[Kind, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was measured, and how it ended: 0, 130 when it was broken off, 1 for a failure."""

    journal: Journal
    noise: Quiet
    status: int


def take(plan: Plan, cores: Cores, out: Path, progress: Progress, opened: Opened) -> Taken:
    """Run what the plan says and the journal lacks."""
    a_round = len(plan.arms) * len(plan.cells)
    journal = Journal(out, plan.fingerprint(), plan.rounds, a_round)
    done = len(journal.rounds)
    print("\n".join(plan.lines(len(cores.all), done)), flush=True)
    journal.forget_halves()
    looks = [quiet.look(cores.all)]
    if not looks[0].is_quiet:
        print(f"CROWDED: {looks[0]}. The page will say that it is not to be published.")
    progress.begin((plan.rounds - done) * a_round, plan.takes_s(len(cores.all), done))
    status = 0
    try:
        run.run(plan, cores, journal, progress, opened)
        looks.append(quiet.look(cores.all))
    except KeyboardInterrupt:
        status = 130
    except (load.WrongAnswer, RuntimeError, OSError) as error:
        progress.end()
        print(f"FAILED: {error}", file=sys.stderr)
        return Taken(journal, quiet.worst(looks), 1)
    progress.end()
    if status:
        print(f"Broken off. {len(journal.rounds)} rounds are kept: the same line goes on.")
    return Taken(journal, quiet.worst(looks), status)


def measured(
    plan: Plan, cores: Cores, out: Path, progress: Progress, opened: Opened, page: Page
) -> int:
    """Measure, and write the report of what there is."""
    taken = take(plan, cores, out, progress, opened)
    if taken.status == 1:
        return 1
    journal = taken.journal
    found = findings.comparisons(journal.windows, plan.arms)
    if not found:
        return taken.status or too_few()
    results = Results(
        heading=page.heading,
        facts=report.machine() | {"commit": plan_module.commit(), **page.facts},
        words=sentences(plan, cores),
        windows=journal.windows,
        comparisons=found,
        noise=taken.noise,
        rounds=len(journal.rounds),
        rounds_planned=plan.rounds,
        title_of=methods.title,
        parts=page.parts,
    )
    print(write(out, results))
    print(f"Written: {out / 'report.html'}, and .md, .json beside it.")
    return taken.status


def too_few() -> int:
    """Nothing can be said."""
    print("Too few rounds for a report.", file=sys.stderr)
    return 1


def sentences(plan: Plan, cores: Cores) -> tuple[str, ...]:
    """How it was measured."""
    return (
        f"{plan.rounds} rounds. In each, every arm is started anew, and asked for each workload "
        f"for {plan.seconds:g} s after {plan.warm_up_s:g} s of warm-up, workloads and arms in "
        "random order, by "
        f"{plan.connections} keep-alive connections in a closed loop; {cores}.",
        "CPU is the user and system time of the arm's process tree, from /proc in nanoseconds, "
        "between the two ends of a window, over the requests answered in it. It depends on no "
        "other process, so it comes first; requests per second stand beside it.",
        "A ratio is that of two arms in the same round; its logarithms are averaged. Intervals: "
        "expanded percentiles of the bootstrap. A difference is one if a paired t-test says so "
        "after Holm's correction for all verdicts on the page.",
        "Keys: " + "; ".join(f"{name}: {text}" for name, text in keys.MEANINGS.items()) + ".",
    )


def listed() -> int:
    """Every arm, and what else there is to run."""
    for title, arms in (
        ("The ladder, each rung one method more:", catalog.LADDER),
        ("Often advised, beside a rung:", catalog.ADVISED),
        ("Ours without one method:", catalog.LEFT_OUT),
    ):
        print(title)
        for arm in arms:
            beside = f" (beside {arm.without})" if arm.without else ""
            print(f"  {arm.name:<26}{beside}")
    return 0


COMMANDS = {"list": lambda _: listed(), "app": application, "aa": believed}


def main(argv: Sequence[str] | None = None) -> int:
    """Which command it is."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    return ladder(words)


if __name__ == "__main__":
    sys.exit(main())
