"""The wheel, built as a release builds it: all that the service reads is in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from hlfast import VERSION
from tests.conftest import new_database

PACKAGES = ("hlfast", "hl_utils", "sql")
READ = (".py", ".sql", ".sh", ".js", ".css", ".html", ".svg")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy: what builds it leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", "dist")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *quiet, "."],
        cwd=source,
        # setuptools, in an environment that is used once: what is compiled of it is imported.
        env={**os.environ, "PIP_NO_COMPILE": "1"},
        check=True,
    )
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_it_has_every_file_that_is_read(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.suffix in READ
    }
    assert len(wanted) > 200
    assert wanted <= inside


def test_it_makes_the_tables_without_the_repository(
    wheel: Path, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """Beside nothing but the dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path / "installed"),
        "HLFAST_HOME": str(tmp_path / "home"),
        "DATABASE_URL": new_database(postgres_server),
    }

    def hlfast(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hl_utils", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert hlfast("--version").stdout == f"hlfast {VERSION}\n"
    made = hlfast("tables")
    assert made.returncode == 0, made.stderr
    # A second time there is nothing to do.
    assert hlfast("tables").returncode == 0
    refused = hlfast("lab")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "repository" in refused.stderr
