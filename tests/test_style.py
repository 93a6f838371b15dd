"""The style gates: ruff, mypy, files and docstrings. import-linter's is in test_floors.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hl_utils.servers.process import ROOT

GATES = ("ruff check", "ruff format --check", "mypy")
LINES_MAX = 400


@pytest.mark.parametrize("gate", GATES)
def test_gate(gate: str) -> None:
    command = [sys.executable, "-m", *gate.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["hlfast", "hl_utils", "bench"])
def test_a_file_is_one_subject_and_a_docstring_stands_alone(package: str) -> None:
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / package).rglob("*.py")}
    assert len(files) > 50
    assert [path for path, text in files.items() if text.count("\n") > LINES_MAX] == []
    assert [path for path, text in files.items() if '"""The same' in text] == []
