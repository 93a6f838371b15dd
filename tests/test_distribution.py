"""How tests are spread over processes, and how many runs of them are summed up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT
from tests import repeat
from tests.distribution import FIRST, MADE_ONCE, NOT_QUICK, QUICK, TOGETHER, is_quick, rank, unit


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/posts/test_posts.py::test_a[postgres]", "tests/posts/test_posts.py on postgres"),
        ("tests/posts/test_posts.py::test_a[mysql-7]", "tests/posts/test_posts.py on mysql"),
        ("tests/posts/test_posts.py::test_a[7-mysql]", "tests/posts/test_posts.py on mysql"),
        ("tests/fuzz/test_openapi.py::test_a[mysql]", "tests/fuzz/test_openapi.py"),
        ("tests/test_codec.py::test_a[mysqld]", "tests/test_codec.py"),
        ("tests/test_codec.py::test_a", "tests/test_codec.py"),
    ],
)
def test_a_unit_is_a_file_on_a_database(nodeid: str, expected: str) -> None:
    assert unit(nodeid) == expected


def test_lists_name_what_there_is() -> None:
    """A file that was renamed would lose its order in silence."""
    named = {path for paths in TOGETHER.values() for path in paths}
    named |= {*QUICK, *NOT_QUICK, *MADE_ONCE}
    named |= {name.partition(" on ")[0] for name in FIRST} - TOGETHER.keys()
    for path in named:
        assert list(ROOT.glob(f"{path}*" if not path.endswith("/") else path)), path


def test_long_units_come_first() -> None:
    assert rank(f"{FIRST[0]}::test_a") == 0
    assert rank("tests/test_codec.py::test_a") == len(FIRST)


def test_quick_is_on_postgres() -> None:
    assert is_quick("tests/posts/test_posts.py::test_a[postgres]")
    assert not is_quick("tests/posts/test_posts.py::test_a[mysql]")
    assert not is_quick("tests/rabbitmq/test_cluster.py::test_a")


def repeated(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs of a test that fails in every second of them."""
    marker = directory / "was-here"
    test = directory / "test_sometimes.py"
    test.write_text(
        f"from pathlib import Path\n"
        f"def test_passes(): pass\n"
        f"def test_sometimes():\n"
        f"    marker = Path({str(marker)!r})\n"
        f"    if marker.exists():\n"
        f"        marker.unlink()\n"
        f"        raise AssertionError\n"
        f"    marker.touch()\n"
    )
    settings = directory / "pytest.ini"
    settings.write_text("[pytest]\n")
    own = [f"--config-file={settings}", "--disable-plugin-autoload", str(test)]
    command = [sys.executable, "-m", "tests.repeat", *words, *own]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_runs_are_summed_up(tmp_path: Path) -> None:
    done = repeated(tmp_path, "4")
    assert done.returncode == 1, done.stderr
    assert "run 1: 2 passed in" in done.stdout
    assert "run 2: 1 failed, 1 passed in" in done.stdout
    assert "test_sometimes.py::test_sometimes" in done.stdout
    [crowded] = [line for line in done.stdout.splitlines() if "beside busy loops" in line]
    assert crowded.startswith("run 4: ")
    assert "4 runs, failed: 2, 4;" in done.stdout
    [directory] = {line.split("logs in ")[1] for line in done.stdout.splitlines()[:1]}
    assert (Path(directory) / "summary.txt").read_text() == done.stdout
    assert len(list(Path(directory).glob("run-*.log"))) == 4


def test_an_end_without_a_count_is_a_failure() -> None:
    assert repeat.summed_up(1, False, 1.0, 3, "INTERNALERROR> here").counts == "exit code 3"
