"""The microbenchmarks run, each once, and their answers are right."""

from __future__ import annotations

import subprocess
import sys

from hl_utils.servers.process import ROOT


def test_each_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--benchmark-disable", "bench/micro"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
