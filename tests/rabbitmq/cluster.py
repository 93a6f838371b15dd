"""Several RabbitMQ nodes on this machine, with the project's own configuration and scripts."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from hl_utils.servers.process import ROOT, START_S, free_port, wait_until
from hl_utils.servers.rabbitmq import PROGRAMS, RabbitServer, start_mapper
from hlfast.events.log import EventLog
from hlfast.events.open import open_log
from hlfast.settings import Settings

SCRIPTS = ROOT / "rabbitmq"
# They share two cores with whatever else is tested.
CLUSTER_S = 5 * START_S
LOG = "clustered"
_NAME = re.compile(r"rabbit@rabbit(\d?)\b")


class Node(RabbitServer):
    """One of several nodes, which share a port mapper and a cookie."""

    def __init__(self, mapper_port: int, cookie: str) -> None:
        super().__init__()
        self.mapper_port = self._mapper_port = mapper_port
        self.cookie = cookie
        self.name = f"hlfast-{self.port}@localhost"

    def environment(self) -> dict[str, str]:
        """See RabbitServer."""
        tools = f"{PROGRAMS}:{os.environ['PATH']}"
        return super().environment() | {
            "PATH": tools,
            "RABBITMQ_ERLANG_COOKIE": self.cookie,
            "HLFAST_RABBITMQ_WAIT_S": f"{CLUSTER_S:.0f}",
            # The tools are started many times, and need no second thread.
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """A tool's answer, as it is given beside the node."""
        return subprocess.run(
            [str(part) for part in command],
            cwd="/",
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLUSTER_S,
        )

    def script(self, name: str, *arguments: str) -> str:
        """What one of the project's scripts says. Raises AssertionError when it fails."""
        done = self.run("bash", SCRIPTS / name, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        """`rabbitmqctl cluster_status`."""
        done = self.run("rabbitmqctl", "--quiet", "--formatter", "json", "cluster_status")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stream(self) -> tuple[str, set[str]]:
        """The node that the log's stream is written on, and those that have a running copy."""
        columns = ("name", "leader", "online")
        done = self.run("rabbitmqctl", "--quiet", "--formatter", "json", "list_queues", *columns)
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = (row for row in json.loads(done.stdout) if row["name"] == f"{LOG}.events")
        return row["leader"], set(row["online"])

    def start(self) -> None:
        """Start it; `wait` waits."""
        self.launch()


@contextmanager
def nodes(count: int, *, alone: bool = False) -> Iterator[list[Node]]:
    """So many nodes, configured as those of compose are; `alone`: they know nobody.

    The first is there before the others look for it: start_node.sh sees to that.
    """
    mapper_port, cookie = free_port(), secrets.token_hex(16)
    found = [Node(mapper_port, cookie) for _ in range(count)]
    if not alone:
        for node in found:
            node.configuration += configured([node.name for node in found])
    with ExitStack() as stack:
        mapper = start_mapper(mapper_port)
        stack.callback(mapper.wait, START_S)
        stack.callback(mapper.terminate)
        for node in found:
            stack.enter_context(node)
            if node is found[0]:
                wait([node])
        wait(found)
        yield found


def wait(waited_for: Sequence[Node]) -> None:
    """Wait until all nodes serve."""
    for node in waited_for:
        wait_until(node.answers, f"{node.name} did not start", CLUSTER_S)


def configured(names: Sequence[str]) -> str:
    """The project's rabbitmq.conf, with these nodes instead of its own."""
    text = (SCRIPTS / "rabbitmq.conf").read_text()
    assert len(_NAME.findall(text)) == 3
    return _NAME.sub(lambda found: names[int(found[1] or 1) - 1], text)


@asynccontextmanager
async def opened(members: Sequence[Node], **settings: Any) -> AsyncIterator[EventLog]:
    """The log, asked for at these nodes, the first of them first."""
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in members)
    url = f"amqp://guest:guest@{hosts}/"
    log = open_log(Settings(events_url=url, events_name=LOG, **{"events_retry_s": 0.1, **settings}))
    try:
        yield log
    finally:
        await log.close()


def names(members: Sequence[Node]) -> set[str]:
    """The names of the nodes, as Erlang knows them."""
    return {node.name for node in members}


_WAIT = """
    Stream = rabbit_misc:r(<<"/">>, queue, <<"%(log)s.events">>),
    Wait = fun
        Again(0) -> late;
        Again(Left) ->
            case catch begin
                {ok, Found} = rabbit_amqqueue:lookup(Stream),
                [{online, Online}] = rabbit_amqqueue:info(Found, [online]),
                lists:sort(Online) =:= lists:sort([%(names)s])
            end of
                true -> replicated;
                _ -> timer:sleep(100), Again(Left - 1)
            end
    end,
    Wait(%(tenths)d).
"""


def wait_until_replicated(members: Sequence[Node]) -> None:
    """All of them have a running copy. The first one waits for it: to ask by a tool costs much."""
    quoted = ", ".join(f"'{name}'" for name in names(members))
    wait = _WAIT % {"log": LOG, "names": quoted, "tenths": CLUSTER_S * 8}
    done = members[0].run("rabbitmqctl", "--quiet", "eval", wait)
    assert done.stdout.strip() == "replicated", done.stdout + done.stderr
