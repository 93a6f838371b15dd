"""Whatever the documents tell to run or to look at is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT

README = ROOT / "README.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAM = re.compile(r"(?:bash|python|docker|haproxy|systemctl) ")
_PATH = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w-]+\.(?:sh|py|yml|yaml|cfg|toml|txt))(?![\w/])")
# Where a command of the README may be run: a container's working directory is the second one.
PLACES = (ROOT, ROOT / "hl_utils")


def commands() -> list[str]:
    """Each line of the README's shell blocks, and each command in its text."""
    text = README.read_text(encoding="utf-8")
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return lines + [code for code in re.findall(r"`([^`]+)`", outside) if _PROGRAM.match(code)]


def test_there_are_commands() -> None:
    assert len(commands()) > 30


def _verbs() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "hl_utils", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"^    ([a-z]+)\b", done.stdout, re.MULTILINE)) | {"test", "bench"}


def test_every_verb_of_build_sh_exists() -> None:
    used = {m for line in commands() for m in re.findall(r"build\.sh ([a-z]+)", line)}
    assert "up" in used
    assert used <= _verbs()


@pytest.mark.parametrize("path", sorted({m for line in commands() for m in _PATH.findall(line)}))
def test_every_file_exists(path: str) -> None:
    assert any((place / path).exists() for place in PLACES), path


def test_every_service_of_a_compose_command_exists() -> None:
    text = "".join(path.read_text() for path in Path(ROOT, "compose").glob("*.yml"))
    services = set(re.findall(r"^  ([a-z][a-z0-9-]*):$", text, re.MULTILINE))
    lines = [line for line in commands() if line.startswith("docker compose")]
    named = re.compile(
        r"(?:exec|kill -s USR2|stop|up -d) (?:--index \d+ )?([a-z]\w*)|--scale (\w+)="
    )
    used = {one or other for line in lines for one, other in named.findall(line)}
    assert used and used <= services
