"""What a websocket node holds and how soon it tells: `python -m bench.live [scene ...]`.

One node on core 0; PostgreSQL, Redis, the API and the clients on core 1. The clients are raw
protocols that count frames and look at their order; every scene fails when a frame is missing, too
many or out of order. Nothing is asserted of the times. Takes about four minutes, and one core of
somebody else's would spoil it.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version

import uvloop

from bench.live import scenes
from bench.live.client import Wrong
from bench.live.world import World, world

SCENES: dict[str, Callable[[World], Awaitable[list[tuple[str, str]]]]] = {
    "hold": scenes.hold,
    "celebrity": scenes.celebrity,
    "sustained": scenes.sustained,
    "slow_reader": scenes.slow_reader,
    "return": scenes.come_back,
    "latency": scenes.latency,
}


def main() -> int:
    """Run, print, write; the exit status."""
    parser = argparse.ArgumentParser(prog="bench.live", description=__doc__)
    parser.add_argument("scenes", nargs="*", choices=[[], *SCENES], default=[])
    wanted = parser.parse_args().scenes or list(SCENES)
    packages = ", ".join(f"{name} {version(name)}" for name in ("picows", "uvloop", "redis"))
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {packages}")
    print("\n| scene | what | figure |\n| --- | --- | --- |")
    failed = False
    with world() as made:
        for name in wanted:
            start = time.perf_counter()
            try:
                for what, figure in uvloop.run(SCENES[name](made)):
                    print(f"| {name} | {what} | {figure} |", flush=True)
            except Wrong as error:
                failed = True
                print(f"| {name} | WRONG | {error} |", flush=True)
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
