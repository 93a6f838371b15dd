"""The command's own words: what it can do, and where it leads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from tests.conftest import new_database

# Those of the contract.
VERBS = (
    "up",
    "api",
    "ws",
    "tables",
    "superuser",
    "seed",
    "shards",
    "check",
    "lab",
    "swarm",
    "backup",
    "restore",
    "clean",
    "help",
)


def hlfast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "hl_utils", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_the_packages() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert hlfast("--version").stdout == f"hlfast {version}\n"


def test_help_names_every_verb() -> None:
    """The help is the same in each way in which people ask for it."""
    done = hlfast("help")
    assert done.returncode == 0
    assert hlfast("--help").stdout == done.stdout
    named = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")]
    assert set(VERBS) <= set(named)


@pytest.mark.parametrize("verb", ["up", "seed", "shards"])
def test_help_of_a_verb(verb: str) -> None:
    done = hlfast("help", verb)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == hlfast(verb, "--help").stdout
    assert done.stdout.startswith(f"usage: hlfast {verb}")


def test_help_of_up_names_ports_home_and_variables() -> None:
    said = hlfast("up", "--help", HOME="/home/somebody").stdout
    for word in ("8000", "8001", "HLFAST_HTTP_PORT", "HLFAST_WS_PORT", "HLFAST_HOME"):
        assert word in said
    for word in ("DATABASE_URL", "DIALOGS_DATABASE_URL", "REDIS_URL", "EVENTS_URL", "HLFAST_DEMO"):
        assert word in said


def test_what_is_no_verb() -> None:
    done = hlfast("upp")
    assert done.returncode == 2
    assert "'up'" in done.stderr
    done = hlfast("help", "upp")
    assert done.returncode == 2


def test_a_mistyped_setting_is_named_where_it_is_not_read() -> None:
    done = hlfast("tables", HLFAST_HTTP_PROT="5", HLFAST_HOME="/nonexistent")
    assert (
        "HLFAST_HTTP_PROT is no setting, and nobody reads it: did you mean HLFAST_HTTP_PORT?"
        in (done.stderr)
    )


def test_shards_of_a_plain_postgresql(postgres_server: PostgresServer) -> None:
    done = hlfast("shards", "status", DATABASE_URL=new_database(postgres_server))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hlfast shards: this is not Citus but a plain PostgreSQL")


def test_the_swarm_goes_to_the_stack_that_runs(tmp_path: Path) -> None:
    """Its ports are those that `up` has written down, whatever the shell knows."""
    (tmp_path / "stack.json").write_text('{"http_port": 5, "ws_port": 6}')
    script = (
        "import os, hl_utils.command as command\n"
        "os.execv = lambda program, argv: print(*argv[3:])\n"
        "command.main(['swarm', '--headless'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HLFAST_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert words[0] == "locust"
    assert words[words.index("--host") + 1] == "http://127.0.0.1:5"
    assert words[words.index("--ws-url") + 1] == "ws://127.0.0.1:6/ws"
    assert words[-1] == "--headless"
