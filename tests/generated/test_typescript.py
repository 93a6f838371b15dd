"""A client that openapi-typescript makes of /openapi.json: it compiles, and reads every list."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.toolchains import npm_packages
from hl_utils.servers.process import START_S
from tests.clients import PASSWORD, Client

DIRECTORY = Path(__file__).with_name("typescript")
BUILD_S = 300.0

pytestmark = [
    pytest.mark.one_database,
    # In CI a missing npm fails the test instead.
    pytest.mark.skipif(
        shutil.which("npm") is None and "CI" not in os.environ,
        reason="npm is missing: install Node.js 20 with npm",
    ),
]


def run(directory: Path, *command: str, timeout_s: float = START_S) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def built(client: Client, tmp_path: Path) -> Path:
    """The program, type-checked against the service's own document."""
    npm_packages(DIRECTORY, ("openapi-typescript", "openapi-fetch", "typescript"))
    for name in ("package.json", "tsconfig.json", "globals.d.ts", "pages.ts"):
        shutil.copy(DIRECTORY / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(DIRECTORY / "node_modules")
    (tmp_path / "openapi.json").write_bytes(client.get(f"{client.root}/openapi.json").content)
    programs = tmp_path / "node_modules" / ".bin"
    run(tmp_path, str(programs / "openapi-typescript"), "openapi.json", "-o", "schema.d.ts")
    # tsconfig.json is strict, and more.
    run(tmp_path, str(programs / "tsc"), timeout_s=BUILD_S)
    return tmp_path / "built" / "pages.js"


def test_it_pages_through_every_list(client: Client, built: Path) -> None:
    me = client.user(first_name="Generatia")
    friends = [client.user() for _ in range(3)]
    for friend in friends:
        me.befriend(friend)
        friend.write(privacy="friends")
        me.send_to(friend)
    for _ in range(2):
        friends[0].write()
        friends[0].send_to(me)
    for asked in [client.user() for _ in range(3)]:
        me.put(f"/friends/{asked.id}")
    for _ in range(2):
        client.user(first_name="Generatia")
    said = run(built.parent, "node", built.name, client.root, me.username, PASSWORD)
    assert json.loads(said) == {
        "friends": 3,
        "requests": 3,
        "search": 3,
        "wall": 3,
        "feed": 5,
        "messages": 3,
        "dialogs": 3,
        "several": 3,
    }
