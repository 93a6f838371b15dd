"""README's first steps, as somebody pastes them into two terminals beside `up`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hl_utils.servers.process import ROOT, wait_until
from tests.hl_utils.stacks import Stack


def blocks() -> list[str]:
    """What is pasted: filling and reading, listening, writing."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## First steps\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def _pasted(stack: Stack, lines: str) -> dict[str, object]:
    """How to run lines in a shell; only ports, and the paths of the environment, are another."""
    for written, here in (
        (".venv/bin/python", sys.executable),
        ("bash build.sh", f"{sys.executable} -m hl_utils"),
        ("127.0.0.1:8000", f"127.0.0.1:{stack.port}"),
        ("127.0.0.1:8001", f"127.0.0.1:{stack.environment['HLFAST_WS_PORT']}"),
    ):
        lines = lines.replace(written, here)
    return {"args": ["bash", "-c", lines], "cwd": ROOT, "env": stack.environment}


@contextmanager
def _terminal(stack: Stack, lines: str, screen: Path) -> Iterator[None]:
    """A shell that goes on until Ctrl-C."""
    with screen.open("wb") as output:
        shell = subprocess.Popen(
            **_pasted(stack, lines), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        print(screen.read_text())  # pytest shows it if the test fails


def walk(stack: Stack, screen: Path) -> None:
    """Do all of it on a stack that runs and was never seeded. `screen`: a file for its output."""
    fill, listen, write = blocks()

    with _terminal(stack, fill + listen, screen):
        wait_until(lambda: '{"type":"hello"' in screen.read_text(), "she does not listen")
        feed, _, _ = screen.read_text().partition('{"type":"hello"')
        assert len(json.loads(feed[feed.index("{\n") :])["items"]) == 3
        done = subprocess.run(
            **_pasted(stack, write), capture_output=True, text=True, check=True, timeout=60
        )
        message = json.loads(done.stdout)
        assert message["content"] == "Hello, Stephanie!"
        frame = wait_until(
            lambda: re.search(r'^{"type":"message.created".*}$', screen.read_text(), re.MULTILINE),
            "the message did not arrive live",
        )
        assert json.loads(frame[0])["message"] == message
