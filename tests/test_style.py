"""The style gates: ruff and mypy. import-linter's is in test_floors.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hl_utils.servers.process import ROOT

GATES = ("ruff check", "ruff format --check", "mypy")


@pytest.mark.parametrize("gate", GATES)
def test_gate(gate: str) -> None:
    command = [sys.executable, "-m", *gate.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
