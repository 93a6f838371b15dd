"""Other versions of Python that this machine has: our service on each of them is an arm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.lab import catalog
from bench.lab.arms import Arm, Kind
from hl_utils.servers.process import ROOT

NAMES = ("python3.11", "python3.12", "python3.13", "python3.13t", "python3.14", "python3.14t")
# What a server needs, without the embedded ones.
_LOCK = ROOT / "requirements-image.txt"
_BUILD = ROOT / "build" / "lab"
_INSTALL_S = 600
_LOOK_S = 60
_ABOUT = """
import json, platform, sys, sysconfig
free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(json.dumps([platform.python_version(), free]))
"""
_SERVICE = """
import sys, hlfast.api, hl_utils.command
print("gil" if getattr(sys, "_is_gil_enabled", lambda: True)() else "free")
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An interpreter on PATH. `why_not`: why it is no arm, empty for one that is."""

    name: str
    version: str = ""
    is_free_threaded: bool = False
    why_not: str = ""
    python: Path | None = None

    @property
    def arm(self) -> Arm:
        """The arm of our whole service on the interpreter, beside that on this process's own."""
        ours = catalog.LADDER[-1]
        assert self.python is not None
        name = self.name.replace("python", "python-")
        return replace(
            ours,
            name=name,
            method=name,
            argv=(str(self.python), *ours.argv[1:]),
            without=ours.name,
            kind=Kind.ADVISED,
        )

    def __str__(self) -> str:
        version = f" ({self.version})" if self.version else ""
        return f"{self.name}{version}{': ' + self.why_not if self.why_not else ''}"


def on_path(names: Sequence[str] = NAMES) -> Iterator[Found]:
    """Find every interpreter of these names on PATH; this process's own is marked as that."""
    mine = catalog.LADDER[-1].argv[0]
    [my_version, my_free] = _about(mine)
    for name in names:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            version, is_free = _about(path)
        except RuntimeError as error:
            yield Found(name, why_not=str(error))
            continue
        is_mine = (version.rpartition(".")[0], is_free) == (
            my_version.rpartition(".")[0],
            my_free,
        )
        why_not = "the ladder itself runs on it" if is_mine else ""
        yield Found(name, version, is_free, why_not, Path(path))


def with_service(found: Found) -> Found:
    """The interpreter in a virtual environment that has what the service needs, made once.

    `why_not` says where something has no wheel for it or can't be imported.
    """
    if found.why_not or found.python is None:
        return found
    directory = _BUILD / found.name
    python, done = directory / "bin" / "python", directory / _LOCK.name
    try:
        if not done.exists() or done.read_bytes() != _LOCK.read_bytes():
            print(f"Installing the service's dependencies for {found.name}, a minute", flush=True)
            _run([str(found.python), "-m", "venv", "--clear", str(directory)], _INSTALL_S)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input"]
            pip += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
            _run([*pip, "--requirement", str(_LOCK)], _INSTALL_S)
            shutil.copy(_LOCK, done)
        has_gil = _run([str(python), "-c", _SERVICE], _LOOK_S).split()[-1] == "gil"
    except RuntimeError as error:
        return replace(found, why_not=str(error))
    if found.is_free_threaded and has_gil:
        return replace(found, why_not="a dependency turns its GIL on again")
    return replace(found, python=python)


def summary(found: Sequence[Found]) -> str:
    """One line on which interpreters were found, and which were not used and why."""
    used = ", ".join(str(one) for one in found if not one.why_not) or "none"
    not_used = "; ".join(str(one) for one in found if one.why_not)
    return f"other Pythons: {used}" + (f"; not used: {not_used}" if not_used else "")


def _about(path: str) -> tuple[str, bool]:
    version, is_free = json.loads(_run([path, "-c", _ABOUT], _LOOK_S))
    return version, is_free


def _run(words: Sequence[str], seconds: float) -> str:
    """What a command prints. Raises RuntimeError with the line in which it says what failed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{type(error).__name__} after {seconds:g} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"(ERROR|\w*Error)\b", line)]
        said = errors[-1:] or lines[:1] or ["it ended without a word"]
        raise RuntimeError(said[0].strip()[:200])
    return done.stdout
