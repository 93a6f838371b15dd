"""What each method brings, on this machine: the laboratory.

bash build.sh lab [NAMES] [--quick | --full] [--workloads …] [--keys …] [--out DIR]
bash build.sh lab list
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench import load, report
from bench.lab import catalog, findings, keys, methods, quiet, run, workloads
from bench.lab import plan as plan_module
from bench.lab.cores import Cores
from bench.lab.journal import Journal
from bench.lab.plan import Plan
from bench.lab.progress import Progress
from bench.lab.report import write
from bench.lab.results import Results

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


def measured(options: argparse.Namespace) -> int:
    """Run what the plan says, and write the report."""
    command = parser()
    try:
        plan = plan_of(options)
    except KeyError as error:
        command.error(f"there is no arm {error}: see `lab list`")
    cores = Cores.of_machine()
    fingerprint = plan.fingerprint()
    if options.plan:
        print("\n".join(plan.lines(len(cores.all), 0)))
        return 0
    journal = Journal(options.out, fingerprint, plan.rounds, len(plan.arms) * len(plan.cells))
    print("\n".join(plan.lines(len(cores.all), len(journal.rounds))), flush=True)
    journal.forget_halves()
    looks = [quiet.look(cores.all)]
    if not looks[0].is_quiet:
        print(f"CROWDED: {looks[0]}. The page will say that it is not to be published.")
    done = len(journal.rounds)
    left = (plan.rounds - done) * len(plan.arms) * len(plan.cells)
    progress = Progress(left, plan.takes_s(len(cores.all), done))
    status = 0
    try:
        run.run(plan, cores, journal, progress)
        looks.append(quiet.look(cores.all))
    except KeyboardInterrupt:
        progress.end()
        print(f"Broken off. {len(journal.rounds)} rounds are kept: the same line goes on.")
        status = 130
    except (load.WrongAnswer, RuntimeError, OSError) as error:
        progress.end()
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    progress.end()
    found = findings.comparisons(journal.windows, plan.arms)
    if not found:
        print("Too few rounds for a report.", file=sys.stderr)
        return status or 1
    results = Results(
        heading="What each method brings",
        facts=report.machine() | {"commit": plan_module.commit(), "users": f"{plan.users:,}"},
        words=words(plan, cores),
        windows=journal.windows,
        comparisons=found,
        noise=quiet.worst(looks),
        rounds=len(journal.rounds),
        rounds_planned=plan.rounds,
        title_of=methods.title,
    )
    print(write(options.out, results))
    print(f"Written: {options.out / 'report.html'}, and .md, .json beside it.")
    return status


def words(plan: Plan, cores: Cores) -> tuple[str, ...]:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Which command it is."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["list"]:
        return listed()
    return measured(parser().parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
