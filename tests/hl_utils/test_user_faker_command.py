"""The command that seeds: as a script, its failures, its memory, what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from hl_utils import user_faker
from hl_utils.servers.sql import skip_user_ids
from tests.hl_utils.seeding import (
    PROFILES_ONLY,
    ROOT,
    command,
    count,
    environment,
    register,
    with_service,
)

Failure = Callable[..., str]


@pytest.fixture
def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Failure:
    """The one line that the command says when it fails with these arguments."""
    for name in ("DATABASE_URL", "DIALOGS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HLFAST_HOME", "/nowhere")

    def run(*arguments: object) -> str:
        assert user_faker.main(list(map(str, arguments))) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert re.fullmatch(r"hlfast seed: [^\n]+\n", said.err), said.err
        return said.err

    return run


@pytest.mark.parametrize(
    ("directory", "script"),
    [(ROOT, "hl_utils/user_faker.py"), (ROOT / "hl_utils", "user_faker.py")],
)
def test_it_runs_as_a_script(migrated_database_url: str, directory: Path, script: str) -> None:
    done = subprocess.run(
        command("--users", 5, program=(script,)),
        cwd=directory,
        env=environment(DATABASE_URL=migrated_database_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "users: 5 rows" in done.stdout
    assert user_faker.PASSWORD in done.stdout.splitlines()[-1]
    assert count(migrated_database_url, '"user"') == 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--users", 0), "--users must be"),
        (("--users", 2**31), "--users must be"),
        (("--users", 5, "--posts", "nan"), "--posts must be"),
        (("--users", 5), "no database"),
        (("--users", 5, "--database-url", "postgresql://127.0.0.1:1/x"), "does not answer"),
        (("--users", 5, "--database-url", "mysql://127.0.0.1:1/x"), "does not answer"),
        (("--users", 5, "--sql", "/nowhere/init.sql"), "/nowhere/init.sql"),
    ],
)
def test_a_failure_is_one_line(failure: Failure, arguments: tuple[object, ...], line: str) -> None:
    assert line in failure(*arguments)


def test_without_tables_the_line_says_what_to_run(failure: Failure, database_url: str) -> None:
    assert "hlfast tables" in failure("--users", 5, "--database-url", database_url)


def test_without_free_ids_nothing_is_done(failure: Failure, migrated_database_url: str) -> None:
    skip_user_ids(migrated_database_url, 2147483600)
    assert "user" in failure("--users", 100, "--database-url", migrated_database_url)
    assert count(migrated_database_url, '"user"') == 0

    async def live(database: Any) -> int:
        return await register(database, "newcomer")

    assert with_service(migrated_database_url, live) < 2147483610


def test_memory_does_not_grow_with_the_number_of_users() -> None:
    few, many = (
        _peak_memory_kib(
            *("--users", users, "--sql", os.devnull),
            *("--friends", 4, "--posts", 0.5, "--dialogs", 0.5),
        )
        for users in (30_000, 90_000)
    )
    assert many < few * 1.15


def test_memory_does_not_grow_while_copying(migrated_database_url: str) -> None:
    few, many = (
        _peak_memory_kib("--users", users, "--database-url", migrated_database_url, *PROFILES_ONLY)
        for users in (15_000, 60_000)
    )
    assert many < few * 1.15


def _peak_memory_kib(*arguments: object) -> int:
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


_PRINT_LOADED = """
import sys
before = set(sys.modules)
import user_faker
print(*sys.modules.keys() - before)
"""


def _locked(path: Path) -> set[str]:
    """`name==version` of each package; every one of them has a hash."""
    lines = path.read_text().split("\n")
    pinned = [n for n, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
    assert all(lines[n + 1].lstrip().startswith("--hash=sha256:") for n in pinned)
    return {re.split(r"[ ;\\]", lines[n])[0] for n in pinned}


def test_the_requirements_are_locked_as_the_services_are() -> None:
    seeder = _locked(ROOT / "hl_utils" / "requirements.txt")
    assert seeder <= _locked(ROOT / "requirements.txt")
    names = {_plain(one.partition("==")[0]) for one in seeder}
    wanted = (ROOT / "hl_utils" / "requirements.in").read_text()
    assert {_plain(one) for one in re.findall(r"^[a-z][\w-]*", wanted, re.MULTILINE)} <= names


def test_the_requirements_are_what_it_needs() -> None:
    wanted = [
        line
        for line in (ROOT / "hl_utils" / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(wanted) <= {*project["dependencies"], *project["optional-dependencies"]["seed"]}
    loaded = subprocess.run(
        [sys.executable, "-c", _PRINT_LOADED],
        cwd=ROOT / "hl_utils",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    of_module = metadata.packages_distributions()
    needed = {
        _plain(distribution)
        for module in loaded
        if "." not in module
        for distribution in of_module.get(module, [])[:1]
    }
    named = {_plain(re.split(r"[\[<>=]", line)[0]) for line in wanted}
    # What aiomysql's `rsa` stands for, in a library below it.
    assert needed <= _with_dependencies(named | {"cryptography"})


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _with_dependencies(names: set[str]) -> set[str]:
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        required = metadata.requires(name) or []
        plain = {re.split(r"[^\w.-]", item)[0] for item in required if "extra ==" not in item}
        installed = {_plain(item) for item in plain if _is_installed(item)}
        names |= installed - found
    return found


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
