"""Many runs of the tests, one after the other, with a log of each and a summary.

    python -m tests.repeat RUNS [arguments of pytest]

Every fourth run has a busy loop beside it for each core: a test that needs a quiet machine shows.
Exits with 1 if anything failed in any run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hl_utils.servers.process import ROOT

_CROWDED_EVERY = 4
_BUSY_LOOP = "while True: pass"
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """How one run went."""

    number: int
    crowded: bool
    took_s: float
    code: int
    counts: str
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        beside = ", beside busy loops" if self.crowded else ""
        line = f"run {self.number}: {self.counts} in {self.took_s:.0f} s{beside}"
        return "\n".join([line, *(f"    {test}" for test in self.failed)])


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that compute all the time, at the priority of the tests."""
    running = [subprocess.Popen([sys.executable, "-c", _BUSY_LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(number: int, arguments: Sequence[str], log: Path) -> Run:
    """One run of the tests, all of whose output goes to the log."""
    crowded = number % _CROWDED_EVERY == 0
    began = time.monotonic()
    with log.open("wb") as output, busy((os.cpu_count() or 1) if crowded else 0):
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    return summed_up(number, crowded, time.monotonic() - began, code, log.read_text())


def summed_up(number: int, crowded: bool, took_s: float, code: int, text: str) -> Run:
    """What pytest's output says of a run."""
    last = next((line for line in reversed(text.splitlines()) if _COUNT.search(line)), "")
    counts = ", ".join(f"{count} {what}" for count, what in _COUNT.findall(last))
    failed = list(dict.fromkeys(_FAILED.findall(text)))
    return Run(number, crowded, took_s, code, counts or f"exit code {code}", failed)


def main(words: Sequence[str]) -> int:
    """All runs; the exit code."""
    runs, *arguments = words
    began = datetime.now(UTC)
    directory = ROOT / "build" / "tests" / began.strftime("%Y-%m-%dT%H-%M-%S")
    directory.mkdir(parents=True)
    done = []
    with (directory / "summary.txt").open("w") as summary:

        def say(line: str) -> None:
            for out in (sys.stdout, summary):
                print(line, file=out, flush=True)

        say(f"{runs} runs of pytest {' '.join(arguments)}; logs in {directory}")
        for number in range(1, int(runs) + 1):
            done.append(run(number, arguments, directory / f"run-{number}.log"))
            say(str(done[-1]))
        wrong = [one.number for one in done if one.code]
        longest = max(one.took_s for one in done if not one.crowded or runs == "1")
        failed = f"failed: {', '.join(map(str, wrong))}" if wrong else "none failed"
        say(f"{len(done)} runs, {failed}; the longest with no busy loops took {longest:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
