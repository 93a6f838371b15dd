"""Every command of bench/README.md is one that its program understands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.scripts import BENCH, ROOT, options, scripts

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAMS = ("python", "pytest", "locust")
LOCUST = shutil.which("locust", path=str(Path(sys.executable).parent))


def commands() -> list[list[str]]:
    """Each line of a shell block, and each command in the text and its tables, in words."""
    text = (BENCH / "README.md").read_text(encoding="utf-8")
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += [code for code in re.findall(r"`([^`]+)`", outside) if code.startswith(_PROGRAMS)]
    # Indented blocks are shell blocks, too, of a kind that this page does without.
    assert not re.search(r"^    (?:python|pytest|locust|bash) ", text, re.MULTILINE)
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def of(*beginning: str) -> list[list[str]]:
    """What follows these words in the commands that begin with them."""
    count = len(beginning)
    return [words[count:] for words in commands() if tuple(words[:count]) == beginning]


def test_there_are_no_others() -> None:
    known = {*_PROGRAMS, "bash", "source", "export", "docker"}
    assert {words[0] for words in commands()} == known
    assert ["build.sh", "bench"] in of("bash")
    assert of("source") == [[".venv/bin/activate"]]
    assert len(of("python")) == len(of("python", "-m"))


def test_every_script_has_its_line() -> None:
    assert {words[0] for words in of("python", "-m")} == set(scripts())


@pytest.mark.parametrize("words", of("python", "-m"), ids=" ".join)
def test_a_script_takes_its_line(words: list[str]) -> None:
    options(*words)


def test_an_option_that_is_not_there_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    for script in scripts():
        with pytest.raises(SystemExit):
            options(script, "--no-such-option")
    assert "usage: " in capsys.readouterr().err


def test_what_pytest_is_given_is_there() -> None:
    assert of("pytest") == [["bench/micro"]]
    assert (BENCH / "micro").is_dir()


@pytest.mark.skipif(LOCUST is None, reason="Locust is not installed")
@pytest.mark.parametrize("words", of("locust"), ids=" ".join)
def test_locust_takes_its_line(words: list[str]) -> None:
    """In a process of its own: Locust changes what Python's library does."""
    command = [LOCUST or "locust", *words, "--show-task-ratio"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
