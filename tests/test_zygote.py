"""A server that is forked for the tests is as one that was started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hl_utils.servers import families
from hl_utils.servers.home import StackError
from hl_utils.servers.process import ROOT, START_S, get, wait_until
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from tests import zygote

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(sys.platform != "linux", reason="where nothing is forked"),
]
# Which signals are blocked, ignored and handled; what it may do, and where it belongs.
STATUS = re.compile(r"^(Sig(?!Q)\w+|Cap\w+|Threads|PPid|Groups|Umask|Cpus_allowed):\s(.*)", re.M)
# What a server opens for its work, and closes again; series, of which a fork has none until it
# counts something.
WORK = re.compile(r"socket:|pipe:|anon_inode:|.*/hlfast-(metrics|zygote)-")


class Started(Api):
    """An API of an interpreter of its own."""

    popen = subprocess.Popen


class StartedNode(Node):
    """A node of an interpreter of its own."""

    popen = subprocess.Popen


def facts(server: Api) -> dict[str, object]:
    """What the kernel has on its processes, apart from their numbers and what is open for work."""
    pid = server.process.pid
    processes = [Path("/proc", str(one)) for one in families.family(pid)]
    return {
        "parent": os.getpid(),
        "leads a session and a group": os.getsid(pid) == os.getpgid(pid) == pid,
        "directories": [(process / "cwd").readlink() for process in processes],
        "files": [sorted(_files(process)) for process in processes],
        "status": STATUS.findall((processes[0] / "status").read_text()),
        "scheduling": [os.sched_getscheduler(int(process.name)) for process in processes],
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
    }


def _files(process: Path) -> Iterator[str]:
    """The names of those that it has open all the time."""
    for descriptor in (process / "fd").iterdir():
        # Connections come and go.
        with suppress(FileNotFoundError):
            file = descriptor.readlink()
            if not WORK.match(str(file)):
                yield file.name


@pytest.mark.parametrize(("started", "forked"), [(Started, Api), (StartedNode, Node)])
def test_a_fork_is_as_a_start(
    migrated_database_url: str, redis_server: RedisServer, started: type[Api], forked: type[Api]
) -> None:
    found = []
    for kind in (started, forked):
        with kind(migrated_database_url, redis_server.url, HLFAST_DRAIN_TIMEOUT_S=1) as server:
            found.append(facts(server))
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(START_S) == 0
        with pytest.raises(ChildProcessError):
            os.waitpid(server.process.pid, 0)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [Started, Api])
def test_one_that_cannot_start(kind: type[Api]) -> None:
    with pytest.raises(StackError, match=r"ended with 1:\nhlfast: .*HLFAST_WORKERS"):
        kind("", "", HLFAST_WORKERS="none").__enter__()


def test_what_an_interpreter_reads_once_is_for_a_start() -> None:
    environment = {"PYTHONUTF8": "0", "LC_ALL": "C", "HLFAST_WORKERS": "none"}
    argv = [sys.executable, "-c", "import sys; sys.exit(sys.flags.utf8_mode)", "api"]
    with Path(os.devnull).open("wb") as nowhere:
        process = zygote.start(argv, cwd=ROOT, env=environment, stdout=nowhere)
    assert process.wait(START_S) == 0


@pytest.mark.parametrize(
    "words",
    [("tables",), ("tables", "--no-such-option"), ("check", "--json"), ("seed", "--help")],
    ids=" ".join,
)
def test_a_tool_that_is_forked_says_what_one_says_that_is_started(words: tuple[str, ...]) -> None:
    environment = {"PATH": os.environ["PATH"], "HLFAST_HOME": "/nowhere"}
    started = subprocess.run(
        [sys.executable, "-m", "hl_utils", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = zygote.run(*words, env=environment)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )
    assert forked.stdout or forked.stderr


def test_a_fork_does_not_drain_with_one_of_before(
    migrated_database_url: str, redis_server: RedisServer
) -> None:
    """What processes of one server share is made when they start."""
    with Api(migrated_database_url, redis_server.url, HLFAST_DRAIN_NOTICE_S=60) as first:
        first.process.terminate()
        wait_until(lambda: get(first.port, "/health/ready")[0] == 503, "it does not drain")
        # It is ready once it has started.
        with Api(migrated_database_url, redis_server.url):
            assert get(first.port, "/health/ready")[0] == 503
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(START_S) == 0
