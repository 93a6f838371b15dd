"""The benchmark of logins, in short: every answer is right, and both halves are timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT


@pytest.mark.one_database
def test_a_login_is_timed_beside_its_hash(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.login", "--rounds=1", "--seconds=0.5"]
    done = subprocess.run(
        [*command, f"--out={tmp_path / 'login'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "login.json").read_text())["figures"]
    assert found["logins"] > 0
    assert found["login_cpu_ms"] > 0
    assert found["hash_cpu_ms"] > 0
