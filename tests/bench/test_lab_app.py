"""`lab app` on a tiny application that nobody here wrote a line for; broken off, and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT

# Plain ASGI: with a body that is always the same, one that never is, and an error.
APPLICATION = """
import itertools

numbers = itertools.count()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    status, body = 200, b"hello"
    if scope["path"] == "/count":
        body = b"%d" % next(numbers)
    elif scope["path"] != "/":
        status = 404
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
REQUESTS = "curl http://localhost:8000/\ncurl localhost/count\ncurl localhost/nowhere\n"
SHORT = ("--rounds=3", "--seconds=0.1", "--warm-up=0.05", "--connections=2")


def lab(directory: Path, *words: str) -> subprocess.Popen[str]:
    """`bash build.sh lab app …` in that directory, as the verb runs it."""
    # Whoever runs the tests in the background ignores Ctrl-C, and so would this.
    command = ["env", "--default-signal=INT"]
    command += [sys.executable, "-P", "-m", "bench.lab", "app", *words]
    return subprocess.Popen(
        [*command, "--requests", "requests.sh", "--python", sys.executable, *SHORT],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "requests.sh").write_text(REQUESTS)
    return tmp_path


@pytest.mark.one_database
@pytest.mark.timeout(600)
def test_a_foreign_application_is_measured_broken_off_and_resumed(directory: Path) -> None:
    words = ("shop:app", "--only", "no-access-log", "--out", str(directory / "out"))
    first = lab(directory, *words)
    assert first.stdout is not None
    said = ""
    while "Round 1 of 3" not in said:
        line = first.stdout.readline()
        assert line, said
        said += line
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate()
    assert first.returncode == 130, said + rest
    assert "the same line goes on" in rest
    assert "only the status is held: GET /count" in said

    second = lab(directory, *words)
    said, _ = second.communicate()
    assert second.returncode == 0, said
    assert "were measured before: it goes on from there" in said
    assert "Round 1 of 3" not in said and "Round 3 of 3" in said
    found = json.loads((directory / "out" / "report.json").read_text())
    arms = ("usual", "no-access-log", "again")
    measured = [(one["round"], one["arm"]) for one in found["windows"]]
    assert sorted(measured) == sorted((n, arm) for n in (1, 2, 3) for arm in arms)
    assert all(one["requests"] >= 50 and one["cpu_us"] > 0 for one in found["windows"])
    assert {one["with"] for one in found["comparisons"]} == {"no-access-log", "again"}
    page = (directory / "out" / "report.html").read_text()
    assert "No line for every request" in page and "shop:app" in page


@pytest.mark.one_database
def test_what_cannot_be_run_is_said_in_a_line(directory: Path) -> None:
    run = lab(directory, "no_such_shop:app")
    said, _ = run.communicate()
    assert run.returncode == 2
    assert "No module named 'no_such_shop'" in said and "Traceback (most recent" not in said
