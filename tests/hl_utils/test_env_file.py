"""`.env` has two readers: what it says means one thing, or is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.env_file import read
from hl_utils.servers.process import ROOT
from tests.deploy.compose import program

TAKEN = {
    "export A=3": "3",
    "export\tA = 3": "3",
    "A = 9000": "9000",
    "  A=1": "1",
    "A=1 # few": "1",
    "A=1": "1",
    "A=": "",
    "A=''": "",
    "A=a b  ": "a b",
    "A=a#b": "a#b",
    "A=a=b": "a=b",
    "A=a;b`c`": "a;b`c`",
    "A=it's": "it's",
    "A=a\\b": "a\\b",
    "A=\u00e4\u00a0": "\u00e4",
    "A='S3cret$word#1 x'": "S3cret$word#1 x",
    "A='a\\b\"c'": 'a\\b"c',
    'A="x # y" # comment': "x # y",
    'A="it\'s"': "it's",
    # Of two alike the later one.
    "A=1\nA=2": "2",
    "\ufeffA=1\r\n# comment\r\n": "1",
}
REFUSED = {
    "A=S3cret$word#1 x": "A: a $",
    "A=${HOME}": "A: a $",
    'A="S3cret$word"': "A: $ and \\",
    'A="S3cret\\nword"': "A: $ and \\",
    "A=#S3cret": "A: its value begins with #",
    "A=1\t# S3cret": "A: a # behind a tab",
    "A='S3cret\\'word'": "A: something stands behind",
    "A='S3cret\\'": "A: a \\ before the closing quote",
    "A='x' S3cret": "A: something stands behind",
    "A='x'#S3cret": "A: something stands behind",
    "A='S3cret": "A: its quotes are not closed",
    "A: S3cret": "A: it is not NAME=VALUE",
    "A-B=S3cret": "A-B: it is not NAME=VALUE",
    "1A=S3cret": "1A: it is not NAME=VALUE",
    "S3cret": "it is not NAME=VALUE",
    "A=S3cret\x01": "A: it holds a control character",
}


def run(tmp_path: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that prints its environment, run as build.sh runs one."""
    file = tmp_path / ".env"
    file.write_text(text, encoding="utf-8", newline="")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "-P", ROOT / "hl_utils/env_file.py", file, sys.executable]
    return subprocess.run(
        [*command, "-c", show],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_taken(text: str) -> None:
    assert read(text.removeprefix("\ufeff")) == ({"A": TAKEN[text]}, [])


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text: str) -> None:
    found, (refused,) = read(text)
    assert found == {}
    assert refused.startswith(f"line 1: {REFUSED[text]}")
    assert "S3cret" not in refused.replace("S3cret: it", "")


def test_a_command_gets_it_and_the_environment_goes_before(tmp_path: Path) -> None:
    done = run(tmp_path, "\ufeffA='S3cret$word#1 x'\nB=of the file\nC=3\n", B="set", C="")
    found = json.loads(done.stdout)
    assert (found["A"], found["B"], found["C"]) == ("S3cret$word#1 x", "set", "")


def test_nothing_is_run_when_a_line_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "A=1\nB=S3cret$word\n\nC='S3cret\n")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("build.sh: .env, line 2: B: a $")
    assert second.startswith("build.sh: .env, line 4: C: its quotes")
    assert "S3cret" not in done.stderr


def test_build_sh_reads_it_so() -> None:
    assert 'hl_utils/env_file.py" "$root/.env"' in (ROOT / "build.sh").read_text()


@pytest.mark.parametrize("text", TAKEN)
def test_compose_understands_the_same(text: str, tmp_path: Path) -> None:
    command = program()
    if not command:
        pytest.skip("SKIPPED: neither `docker compose` nor `docker-compose` is there")
    (tmp_path / ".env").write_text(text, encoding="utf-8", newline="")
    (tmp_path / "compose.yaml").write_text(
        "services: {one: {image: one, environment: {A: '${A-unset}'}}}"
    )
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]["one"]["environment"]["A"]
    # It writes a dollar as two.
    assert found.replace("$$", "$") == TAKEN[text]
