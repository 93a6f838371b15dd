"""A process takes as many open files as it may, and says what it means if they are too few."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from hl_utils.servers.process import ROOT

# A websocket node's start, as far as files go: 500 connections, a dismissed one, two pools of 8.
_START = """
import resource
from hlfast import open_files
from hlfast.settings import Settings
settings = Settings(ws_connections_max=500, ws_dismissed_max=1)
needed = open_files.needed_by_node(settings)
open_files.take_all("HLFAST_WS_CONNECTIONS_MAX", settings.ws_connections_max, needed)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("hard", "accepted"), [(581, None), (580, 499), (300, 219), (64, 0)])
def test_too_few_are_one_line(hard: int, accepted: int | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 50), hard)),
    )
    assert done.stdout.split() == [str(hard)] * 2
    lines = done.stderr.splitlines()
    if accepted is None:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{hard} open files are allowed here: about {accepted} connections")
        assert "500 of HLFAST_WS_CONNECTIONS_MAX" in line
