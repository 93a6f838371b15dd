"""Benchmarks write below build/, and over published figures only when they are told to."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.scripts import BENCH, ROOT, options, scripts, sources

RESULTS = BENCH / "results"
# A whole text, or a word of one, that is a path to or through the directory of that name.
NAMES_RESULTS = re.compile(r"\A/?results\Z|(?:\A|[\s/])results/|/results\b")
WRITES = {"write_text", "write_bytes", "savefig", "write_markdown"}
# It writes pages, of figures that are published already.
WRITES_PAGES = "bench.readme"
# What a script can't do without on its command line.
NEEDED = {"bench.citus": ["DSN"] * 4, "bench.citus_send": ["DSN"] * 3}


def names() -> dict[str, str]:
    """The name of its results by script, of all that have a place for them."""
    found = {script: options(script, *NEEDED.get(script, [])) for script in scripts()}
    return {script: Path(one.out).name for script, one in found.items() if "out" in one}


def _writes(call: ast.Call) -> bool:
    """Whether it is a call that writes a file."""
    called = ast.unparse(call.func)
    if called.rpartition(".")[2] == "open":
        modes = [ast.unparse(one) for one in (*call.args, *(key.value for key in call.keywords))]
        return any(re.fullmatch(r"'[rb+t]*[wax+][rwaxb+t]*'", mode) for mode in modes)
    return called == "report.write" or called.rpartition(".")[2] in WRITES


def test_whoever_writes_has_the_options_of_the_one_place_for_them() -> None:
    trees = sources()
    with_place = names()
    assert len(with_place) > 10
    for script in scripts():
        tree = trees.get(f"{script}.__main__") or trees[script]
        if script == WRITES_PAGES:
            continue
        if any(isinstance(one, ast.Call) and _writes(one) for one in ast.walk(tree)):
            assert script in with_place, f"{script} writes: let report.add_out say where"


def test_default_is_build_and_publishing_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither depends on where a script is run.
    monkeypatch.chdir(tmp_path)
    found = names()
    for script, name in found.items():
        given = NEEDED.get(script, [])
        assert options(script, *given).out == ROOT / "build" / "bench" / name
        assert options(script, *given, "--publish").out == RESULTS / name
        assert options(script, *given, f"--out={tmp_path / 'x'}").out == tmp_path / "x"
        with pytest.raises(SystemExit):
            options(script, *given, "--publish", f"--out={tmp_path / 'x'}")
        assert "not allowed with" in capsys.readouterr().err
    assert len(set(found.values())) == len(found), "two scripts write over each other's results"


def test_every_published_figure_is_of_a_script() -> None:
    files = {path.stem for path in RESULTS.iterdir() if path.is_file()}
    assert files <= set(names().values())


def test_every_other_figure_says_that_it_was_written_down() -> None:
    others = {path.name for path in RESULTS.iterdir() if path.is_dir()}
    assert others <= {"recorded", "lab", "lab-curves", "lab-frames", "lab-aa", "lab-agreement"}
    for path in (RESULTS / "recorded").iterdir():
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["facts"]["date"] and found["facts"]["machine"] and found["method"]
        assert "by hand" in found["facts"]["recorded"], path


def test_build_is_not_in_git() -> None:
    assert "/build/" in (ROOT / ".gitignore").read_text().splitlines()


def test_nobody_else_names_the_published_figures() -> None:
    """A module that spells out where they are could write there."""
    for module, tree in sources().items():
        if module == "bench.report":
            continue
        for one in ast.walk(tree):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                assert not NAMES_RESULTS.search(one.value), f"{module}:{one.lineno}: {one.value}"
            elif isinstance(one, ast.Attribute | ast.Name | ast.alias):
                assert not ast.unparse(one).endswith("_RESULTS"), f"{module} looks into report"


def contents(directory: Path) -> dict[str, bytes]:
    """Of every file."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.one_database
def test_a_short_run_leaves_published_figures_alone(tmp_path: Path) -> None:
    """In a copy of bench/: what somebody's own runs left in build/ stays, too."""
    shutil.copytree(
        BENCH, tmp_path / "bench", ignore=shutil.ignore_patterns("node_modules", "__pycache__")
    )
    for name in ("hlfast", "hl_utils", "sql", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    before = contents(RESULTS)
    command = [sys.executable, "-m", "bench.search_prefixes", "--users=300", "--repeats=1"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        command,
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = tmp_path / "build" / "bench"
    assert {*contents(written)} == {"search_prefixes.md", "search_prefixes.json"}
    assert (written / "search_prefixes.md").read_text() in done.stdout
    assert not [*elsewhere.iterdir()]
    assert contents(tmp_path / "bench" / "results") == before
    assert contents(RESULTS) == before
