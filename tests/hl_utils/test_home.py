"""Directories and programs that the servers' user gets to, whoever starts them."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest

from hl_utils.servers import programs
from hl_utils.servers.home import Home, StackError, locked
from hl_utils.servers.runtime import runtime

IS_ROOT = os.geteuid() == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root starts servers as somebody else")
def test_missing_parents_are_made_for_the_servers_user(place: Path) -> None:
    before = os.umask(0o077)
    try:
        with locked(place / "new" / "deep" / "home", create=True) as home:
            home.furnish()
            assert home.account.reaches(home.data)
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / "new").stat().st_mode) == 0o755
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o710


# Where the package lies, and modules whose compiled file has another time than their source.
COMPILED_FOR_ANOTHER_SOURCE = """
import sys, os
import hlfast.api, hlfast.ws, hl_utils.command

print(hlfast.__file__)
for module in [*sys.modules.values()]:
    cached = getattr(module, "__cached__", None)
    if cached and os.path.exists(cached):
        with open(cached, "rb") as file:
            head = file.read(12)
        if int.from_bytes(head[8:], "little") != int(os.stat(module.__file__).st_mtime):
            print(module.__file__)
"""


@pytest.mark.skipif(not IS_ROOT, reason="only root starts servers as somebody else")
def test_python_packages_and_code_that_the_servers_user_cannot_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where root's checkout, and a Python of its own, lie in /root."""
    home = Home(place / "runtime")
    home.path.mkdir()
    home.furnish()
    for name in ("reads", "reaches"):
        monkeypatch.setattr(type(home.account), name, lambda _, path: home.path in path.parents)
    for _ in range(2):
        found = runtime(home)
        assert home.path in found.python.parents
        done = subprocess.run(
            [found.python, "-c", COMPILED_FOR_ANOTHER_SOURCE],
            cwd=found.directory,
            env={"PATH": "/usr/bin:/bin", **found.environment},
            capture_output=True,
            text=True,
            check=False,
            **home.account.spawn,
        )
        assert done.returncode == 0, done.stderr
        # None: else whoever starts compiles it once more.
        assert done.stdout.split() == [f"{found.directory}/hlfast/__init__.py"]
        assert home.path in found.directory.parents


@pytest.mark.parametrize("package", [programs.POSTGRES_PACKAGE, programs.REDIS_PACKAGE])
def test_missing_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookup: Callable[[str], object] = util.find_spec
    absent = package.replace("-", "_")
    monkeypatch.setattr(
        programs, "find_spec", lambda name: None if name == absent else lookup(name)
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    find = programs.postgres if package == programs.POSTGRES_PACKAGE else programs.redis
    with pytest.raises(StackError, match=r"install|bash build\.sh"):
        find(Home(tmp_path))


def test_programs_are_copied_to_where_the_servers_user_gets(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also: without a Redis on PATH the wheel's is taken."""
    home = Home(place / "programs")
    home.path.mkdir()
    home.furnish()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(type(home.account), "reaches", lambda _, path: home.path in path.parents)
    postgres, redis = programs.postgres(home) / "postgres", programs.redis(home)
    for program in (postgres, redis):
        assert home.path in program.parents
        shown = subprocess.run(
            [program, "--version"], capture_output=True, check=True, cwd="/", **home.account.spawn
        ).stdout
        assert b"18" in shown or b"v=9" in shown
    assert programs.postgres(home) / "postgres" == postgres


def test_what_valkey_has_written_no_redis_is_given(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither understands the other's newer files."""
    home = Home(place / "written")
    home.path.mkdir()
    home.furnish()
    shown = tmp_path / "redis-server"
    shown.write_text("")
    shown.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(type(home.account), "reaches", lambda *_: True)
    monkeypatch.setattr(programs, "find_spec", lambda _: None)
    written = home.data / "redis" / "appendonlydir" / "appendonly.aof.1.base.rdb"
    written.parent.mkdir(parents=True)
    written.write_bytes(b"REDIS0011")
    assert programs.redis(home) == shown
    written.write_bytes(b"VALKEY080")
    with pytest.raises(StackError, match="no valkey-server on PATH"):
        programs.redis(home)
