"""`hlfast tables` and `hlfast superuser`, one at a time and all at once."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import argon2
import pytest

from hl_utils import tables
from hl_utils.servers.sql import rows
from hlfast.db import queries
from hlfast.settings import Settings
from tests import zygote
from tests.hl_utils.seeding import ROOT, environment

PASSWORD = "a password of theirs"


def migrations_of(url: str) -> list[str]:
    """The names of those that make everything in the database of a URL."""
    dialect = queries.dialect_of(url)
    return [
        migration.name
        for database in (queries.MAIN, queries.DIALOGS)
        for migration in queries.migrations(dialect, database)
    ]


# Hashing is not what is tested.
FAST_HASH = {"HLFAST_PASSWORD_HASH_TIME": "1", "HLFAST_PASSWORD_HASH_MEMORY_KIB": "256"}


def start(verb: str, url: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    return zygote.start(
        [sys.executable, "-m", "hl_utils", verb, *options],
        cwd=ROOT,
        env=environment(DATABASE_URL=url, **FAST_HASH, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and complaints."""
    output, complaints = process.communicate(timeout=60)
    return process.returncode, output, complaints


def make_superuser(url: str, name: str, password: str, *options: str) -> tuple[int, str, str]:
    who = {"FIRST_SUPERUSER": name, "FIRST_SUPERUSER_PASSWORD": password}
    return outcome(start("superuser", url, *options, **who))


def users(url: str) -> list[dict[str, Any]]:
    columns = ("id", "username", "password_hash", "is_superuser", "token_version")
    found = rows(url, f'SELECT {", ".join(columns)} FROM "user" ORDER BY id')
    return [dict(zip(columns, row, strict=True)) for row in found]


def test_of_several_at_once_one_makes_each_table(database_url: str) -> None:
    outcomes = [outcome(run) for run in [start("tables", database_url) for _ in range(5)]]
    assert [(code, complaints) for code, _, complaints in outcomes] == [(0, "")] * 5
    lines = [line for _, output, _ in outcomes for line in output.splitlines()]
    applied = [line for line in lines if line != "the tables are up to date"]
    assert sorted(applied) == sorted(f"applied {name}" for name in migrations_of(database_url))
    assert users(database_url) == []


@pytest.mark.parametrize("verb", ["tables", "superuser"])
def test_a_database_that_is_not_there_is_one_line(verb: str) -> None:
    who = {"FIRST_SUPERUSER": "root", "FIRST_SUPERUSER_PASSWORD": PASSWORD}
    for url, line in (
        ("", "no database"),
        ("postgresql://127.0.0.1:1/x", "does not answer"),
        ("mysql://127.0.0.1:1/x", "does not answer"),
    ):
        code, output, complaints = outcome(start(verb, url, **who))
        assert (code, output) == (1, "")
        assert complaints.startswith(f"hlfast {verb}: ")
        assert line in complaints
        assert complaints.count("\n") == 1


def test_a_migration_that_was_edited_is_one_line(migrated_database_url: str) -> None:
    rows(migrated_database_url, "UPDATE migration SET checksum = 'another'")
    code, output, complaints = outcome(start("tables", migrated_database_url))
    assert (code, output) == (1, "")
    first = migrations_of(migrated_database_url)[0]
    assert complaints.startswith(f"hlfast tables: {first} was applied with another text")
    assert complaints.count("\n") == 1


def test_a_superuser_without_tables_is_one_line(database_url: str) -> None:
    code, output, complaints = make_superuser(database_url, "root", PASSWORD)
    assert (code, output) == (1, "")
    assert complaints == "hlfast superuser: the tables are missing: run `hlfast tables` first\n"


def test_the_superuser_is_made_and_renewed(migrated_database_url: str) -> None:
    code, output, complaints = make_superuser(migrated_database_url, "Root.One", PASSWORD)
    assert (code, output, complaints) == (0, "Root.One (id 1) is a superuser\n", "")
    (made,) = users(migrated_database_url)
    assert made["username"] == "Root.One"
    assert made["is_superuser"]
    assert argon2.PasswordHasher().verify(made["password_hash"], PASSWORD)

    code, _, complaints = make_superuser(migrated_database_url, "root.one", "another password")
    assert (code, complaints) == (0, "")
    (renewed,) = users(migrated_database_url)
    assert renewed["id"] == made["id"]
    assert argon2.PasswordHasher().verify(renewed["password_hash"], "another password")
    assert renewed["token_version"] == made["token_version"] + 1


def test_whoever_has_the_name_is_promoted_only_when_that_is_meant(
    migrated_database_url: str,
) -> None:
    """They may have guessed it and have registered it first."""
    assert make_superuser(migrated_database_url, "Root", "the squatter's own")[0] == 0
    rows(migrated_database_url, 'UPDATE "user" SET is_superuser = false')
    before = users(migrated_database_url)
    code, output, complaints = make_superuser(migrated_database_url, "root", PASSWORD)
    assert (code, output) == (1, "")
    assert "--promote" in complaints
    assert complaints.count("\n") == 1
    assert users(migrated_database_url) == before

    code, _, complaints = make_superuser(migrated_database_url, "root", PASSWORD, "--promote")
    assert (code, complaints) == (0, "")
    (promoted,) = users(migrated_database_url)
    assert promoted["is_superuser"]
    assert promoted["id"] == before[0]["id"]
    assert argon2.PasswordHasher().verify(promoted["password_hash"], PASSWORD)
    # Of the tokens of before none is good.
    assert promoted["token_version"] == before[0]["token_version"] + 1


@pytest.mark.parametrize(
    ("name", "password", "wrong"),
    [
        ("ro", PASSWORD, "username"),
        ("r" * 33, PASSWORD, "username"),
        ("ro ot", PASSWORD, "username"),
        ("root\n", PASSWORD, "username"),
        ("root", "short 7", "password"),
        ("root", "p" * 129, "password"),
        ("", PASSWORD, "FIRST_SUPERUSER"),
        ("root", "", "FIRST_SUPERUSER_PASSWORD"),
    ],
)
def test_what_no_registration_would_take_is_refused(
    migrated_database_url: str,
    capsys: pytest.CaptureFixture[str],
    name: str,
    password: str,
    wrong: str,
) -> None:
    settings = Settings(
        database_url=migrated_database_url, first_superuser=name, first_superuser_password=password
    )
    assert tables.superuser(settings) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert wrong in said.err
    assert said.err.count("\n") == 1
    assert not password or password not in said.err
    assert users(migrated_database_url) == []


@pytest.mark.parametrize(("again", "code"), [(PASSWORD, 0), ("a typo of theirs", 1)])
def test_what_is_not_set_is_asked_for(migrated_database_url: str, again: str, code: int) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hl_utils", "superuser"],
        cwd=ROOT,
        env=environment(DATABASE_URL=migrated_database_url, **FAST_HASH),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = b""
        for prompt, answer in (
            (b"name: ", "asked"),
            (b"Password of asked: ", PASSWORD),
            (b"Once more: ", again),
        ):
            while not seen.endswith(prompt):
                seen += os.read(ours, 1024)
            os.write(ours, f"{answer}\n".encode())
        assert process.wait(60) == code
    os.close(ours)
    assert PASSWORD.encode() not in seen
    assert [user["username"] for user in users(migrated_database_url)] == ["asked"][code:]


def test_the_script_does_both_from_anywhere(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            ["bash", ROOT / "hl_utils" / "create_tables_and_superuser.sh"],
            cwd=tmp_path,
            env=environment(
                DATABASE_URL=database_url,
                **FAST_HASH,
                PYTHON=sys.executable,
                FIRST_SUPERUSER="root",
                FIRST_SUPERUSER_PASSWORD=PASSWORD,
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("root (id 1) is a superuser\n")
    assert [user["is_superuser"] for user in users(database_url)] == [True]
