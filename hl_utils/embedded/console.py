"""What the operator sees: plain lines, on a terminal and in a log alike."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hl_utils.servers.home import StackError

FAILED = 1
INTERRUPTED = 130


def say(text: str = "", *, end: str = "\n") -> None:
    """Print at once. A terminal that was closed must not keep the servers from being stopped."""
    try:
        print(text, end=end, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - lives as long as we do


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done while it is being done, and how long it took."""
    started = time.monotonic()
    say(f"  {text} …", end=" " if sys.stdout.isatty() else "\n")
    done = False
    try:
        yield
        done = True
    finally:
        if sys.stdout.isatty():
            say(f"{time.monotonic() - started:.1f} s" if done else "")


def reported(work: Callable[[], int]) -> int:
    """The exit code of the work; what it fails with becomes one line on stderr, and 1."""
    try:
        return work()
    except StackError as error:
        line = str(error)
    except OSError as error:
        line = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f"hlfast: {line}", file=sys.stderr)
    return FAILED
