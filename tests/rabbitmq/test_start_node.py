"""What a node's container does before RabbitMQ starts, and when it is to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hl_utils.servers.process import START_S, wait_until
from tests.rabbitmq.cluster import SCRIPTS

SELF, THERE, GONE = "rabbit@rabbit", "rabbit@localhost", "rabbit@gone.invalid"


def need_members(directory: Path, members: str | None) -> subprocess.CompletedProcess[str]:
    """What need_members.sh says of a node whose data names these members; None: it has none."""
    data = directory / SELF
    data.mkdir()
    if members is not None:
        (data / "cluster_nodes.config").write_text(members)
    environment = {
        "PATH": os.environ["PATH"],
        "RABBITMQ_NODENAME": SELF,
        "RABBITMQ_MNESIA_BASE": str(directory),
        "HLFAST_RABBITMQ_WAIT_S": "0",
    }
    return subprocess.run(
        ["bash", SCRIPTS / "need_members.sh"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )


@pytest.mark.parametrize(
    "members",
    [None, f"{{[{SELF}],[{SELF}]}}.\n", f"{{[{THERE},\n  {SELF}],[{SELF}]}}.\n"],
    ids=["first start", "alone", "all there"],
)
def test_a_node_that_misses_nobody_may_start(tmp_path: Path, members: str | None) -> None:
    done = need_members(tmp_path, members)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_who_is_missing_is_said_at_once(tmp_path: Path) -> None:
    """Also one that did not run when this one stopped, and no other one."""
    done = need_members(tmp_path, f"{{['{GONE}',\n  {SELF},{THERE}],[{SELF}]}}.\n")
    assert done.returncode == 1
    first, *_ = done.stderr.splitlines()
    assert first.endswith(f"waits for those of it that are not here: {GONE}")
    assert "docker compose --profile rabbit-cluster up" in done.stderr


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """start_node.sh over a start script that waits for its server and hands no signal on."""
    server = tmp_path / "beam.smp"
    shutil.copy(str(shutil.which("sleep")), server)
    script = tmp_path / "docker-entrypoint.sh"
    script.write_text(f"#!/bin/sh\n{server} 3600\necho ended\n")
    script.chmod(0o755)
    with subprocess.Popen(
        ["bash", SCRIPTS / "start_node.sh"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_stop_reaches_the_server(started: subprocess.Popen[bytes]) -> None:
    """Its start script sees it end, and ends itself; nothing is killed."""

    def servers() -> bool:
        # Scripts of a moment are among them.
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(started.pid).children(recursive=True)
            return any(one.name() == "beam.smp" for one in below)
        return False

    wait_until(servers, "the server did not start")
    started.terminate()
    output, _ = started.communicate(timeout=START_S)
    assert output == b"ended\n"
