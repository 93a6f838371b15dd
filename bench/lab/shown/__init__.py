"""`lab app` on services of the package registry that nobody here wrote.

bash build.sh lab foreign [NAMES] [--rounds 8] [--publish]

Each is installed in a virtual environment of its own, outside of this project. What they are asked
is in a directory beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import report
from bench.lab.findings import CPU
from bench.lab.methods import title
from hl_utils.servers.process import ROOT

_HERE = Path(__file__).parent
_INSTALL_S = 900


@dataclass(frozen=True, slots=True)
class Shown:
    """A service: what is installed, what makes its data in its directory, and what is run."""

    name: str
    what: str
    packages: tuple[str, ...]
    target: str
    prepare: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


SERVICES = (
    Shown(
        "httpbinx",
        "a service that answers with what it was asked, on FastAPI",
        ("httpbinx==1.13.1",),
        "httpbinx.main:app",
    ),
    Shown(
        "datasette",
        "tables of SQLite as JSON and pages, on ASGI of its own",
        ("datasette==0.65.5",),
        "towns:app",
        prepare=(("python", "make_towns.py"),),
    ),
    Shown(
        "pygeoapi",
        "OGC API Features over a file, on Starlette",
        ("pygeoapi==0.21.0", "starlette"),
        "pygeoapi.starlette_app:APP",
        prepare=(
            ("python", "make_stations.py"),
            ("pygeoapi", "openapi", "generate", "config.yml", "--output-file", "openapi.yml"),
        ),
        environment={"PYGEOAPI_CONFIG": "config.yml", "PYGEOAPI_OPENAPI": "openapi.yml"},
    ),
)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line of `lab foreign`."""
    found = argparse.ArgumentParser(
        prog="lab foreign", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    names = [one.name for one in SERVICES]
    found.add_argument("names", nargs="*", metavar="NAMES", help=f"of {', '.join(names)}")
    found.add_argument("--rounds", type=int, default=8)
    found.add_argument("--seconds", type=float, default=0.6, help="of a window")
    found.add_argument("--warm-up", type=float, default=0.3, help="seconds before a window")
    found.add_argument("--venvs", type=Path, default=_cache(), metavar="DIR")
    found.add_argument("--install-only", action="store_true", help="what needs no quiet machine")
    report.add_out(found, "lab/foreign")
    return found


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hlfast-lab"


def run(options: argparse.Namespace) -> int:
    """Install and measure each service. Raises RuntimeError for what is not there to install."""
    names = options.names or [one.name for one in SERVICES]
    if unknown := set(names) - {one.name for one in SERVICES}:
        raise RuntimeError(f"there is no service {', '.join(sorted(unknown))}")
    status = 0
    for one in SERVICES:
        if one.name not in names:
            continue
        directory = installed(one, options.venvs / one.name)
        if options.install_only:
            continue
        words = ["app", one.target, "--python", str(directory / "venv" / "bin" / "python")]
        words += ["--requests", "requests.http", "--rounds", str(options.rounds)]
        words += ["--seconds", str(options.seconds), "--warm-up", str(options.warm_up)]
        words += ["--out", str((options.out / one.name).absolute())]
        print(f"\n{one.name}: {one.what}", flush=True)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench.lab", *words],
            check=False,
            cwd=directory / "site",
            env={**os.environ, **one.environment, "PYTHONPATH": _python_path()},
        )
        status = status or done.returncode
        if done.returncode == 130:
            break
    return status


def _python_path() -> str:
    others = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{others}" if others else str(ROOT)


def installed(one: Shown, directory: Path) -> Path:
    """The directory with a service's `venv` and `site`, both made once. Raises RuntimeError."""
    done = directory / "installed"
    wanted = json.dumps([one.packages, one.prepare])
    if done.exists() and done.read_text() == wanted:
        _copy(one, directory)
        return directory
    print(f"Installing {' '.join(one.packages)} for {directory}, a minute", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    _copy(one, directory)
    programs = directory / "venv" / "bin"
    _run([sys.executable, "-m", "venv", str(directory / "venv")], directory, {})
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
    _run([*pip, "--disable-pip-version-check", "--no-input", *one.packages], directory, {})
    for program, *words in one.prepare:
        _run([str(programs / program), *words], directory / "site", one.environment)
    done.write_text(wanted)
    return directory


def _copy(one: Shown, directory: Path) -> None:
    """Copy what a service is asked and run by to its `site`; what it has made there stays."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_HERE / one.name, directory / "site", ignore=ignored, dirs_exist_ok=True)


def _run(words: Sequence[str], directory: Path, given: Mapping[str, str]) -> None:
    environment = {**os.environ, **given}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        words,
        check=False,
        cwd=directory,
        env=environment,
        timeout=_INSTALL_S,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:5])} …: {done.stderr.strip()[-500:]}")


def lines(results: Path) -> list[str]:
    """What was found with each, as a table, from the reports in a directory; empty for none.

    A report that is not to be published is left out.
    """
    found: list[str] = []
    for one in SERVICES:
        path = results / one.name / "report.json"
        if not path.exists():
            continue
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["not_to_be_published"]:
            continue
        package = one.packages[0].replace("==", " ")
        found += _rows(f"{package}, {one.what}", document["comparisons"])
    head = ["| service | method | more requests for the same CPU |", "| --- | --- | --- |"]
    return head + found if found else []


def _rows(service: str, comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for one in comparisons:
        verdict = one["measures"][CPU]["verdict"]
        rows.append(f"| {service} | {title(tuple(one['methods']))} | {verdict} |")
        service = ""
    return rows
