"""A private RabbitMQ node: its own name, ports, directories and port mapper."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import aio_pika

from hl_utils.servers.process import START_S, Server, free_port, need_running, wait_until

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
# The wrappers on PATH insist on Debian's own user and directories.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
ERLANG = Path("/usr/lib/erlang")
# The largest of the applications that a node starts; at its start it loads all of their modules.
APPLICATIONS = (
    *("kernel", "stdlib", "sasl", "ssl", "inets", "compiler", "xmerl", "mnesia", "tools"),
    *("rabbit", "rabbit_common", "rabbitmq_prelaunch", "ra", "osiris", "ranch", "cuttlefish"),
)
CONFIGURATION = """\
# What the tests of retention write is little.
disk_free_limit.absolute = 50MB
log.file.level = warning
"""


def installed() -> bool:
    """Whether this machine has RabbitMQ's programs where Debian puts them."""
    return (PROGRAMS / "rabbitmq-server").exists() and shutil.which("epmd") is not None


@cache
def _boot_module() -> str:
    """What a node runs at its start: it loads most of its code at once, and boots.

    By itself it looks for 900 modules in 90 directories each, and loads one after the other: most
    of the CPU of a start. The start script makes `-s MODULE boot` of this, and Erlang runs one `-s`
    after the other. A module that is not found is loaded when it is wanted, as ever.
    """
    found = {
        file.stem
        for application in APPLICATIONS
        for libraries in (ERLANG / "lib", *PROGRAMS.parent.glob("lib/*/plugins"))
        for file in libraries.glob(f"{application}-[0-9]*/ebin/*.beam")
    }
    return f"code ensure_modules_loaded {' '.join(sorted(found))} -s rabbit"


def start_mapper(port: int, **options: Any) -> subprocess.Popen[bytes]:
    """Erlang's port mapper, started by us and in the foreground: a node would leave a daemon."""
    mapper = subprocess.Popen(
        ["epmd", "-port", str(port), "-address", "127.0.0.1"],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "epmd did not start")
    return mapper


async def _make_stream(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("first", durable=True, arguments={"x-queue-type": "stream"})


class RabbitServer(Server):
    """RabbitMQ 3.10 or later on a loopback port; its data outlives restarts.

    `configuration` is added to CONFIGURATION.
    """

    # Of Erlang's distribution; empty where it is the one that the node made for itself.
    cookie = ""

    def __init__(self, configuration: str = "", plugins: Sequence[str] = ()) -> None:
        self.configuration = CONFIGURATION + configuration
        self._plugins = f"[{','.join(plugins)}].\n"
        self.port = free_port()
        self._mapper_port = free_port()
        self._distribution_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What EVENTS_URL says of it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._start_mapper()
        self.launch()
        # Several seconds of work: on a busy machine a minute and more.
        wait_until(self.answers, "RabbitMQ did not start", 3 * START_S)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        (self.home.data / "rabbitmq.conf").write_text(self.configuration)
        (self.home.data / "enabled_plugins").write_text(self._plugins)
        self.spawn(PROGRAMS / "rabbitmq-server", log="rabbitmq.log", environment=self.environment())

    def settle(self) -> None:
        """Make a first stream, and have the node remember it whatever becomes of the process.

        The node notes that it coordinates streams, and the Erlang runtime writes that note to disk
        at a clean end, after three minutes, or on demand. Killed before that it finds no
        stream again, ever.
        """
        asyncio.run(_make_stream(self.url))
        self.evaluate("[dets:sync(T) || T <- dets:all()]")

    def evaluate(self, expression: str) -> str:
        """What an Erlang expression comes to at the node. Raises RuntimeError where it fails.

        `rabbitmqctl eval` says the same, and starts an Erlang runtime for it: seconds of CPU.
        """
        cookie = ("-c", self.cookie) if self.cookie else ()
        done = subprocess.run(
            ["erl_call", "-address", f"127.0.0.1:{self._distribution_port}", *cookie, "-R", "-e"],
            # It reads up to a full stop and the end of a line.
            input=f"{expression}.\n",
            text=True,
            cwd="/",
            env=self.environment(),
            capture_output=True,
            check=False,
            timeout=3 * START_S,
            **self.home.account.spawn,
        )
        # It ends with 0 whatever the expression came to.
        value = re.fullmatch(r"\{ok, (.*)\}\s*", done.stdout, re.DOTALL)
        if value is None:
            raise RuntimeError(f"erl_call: {done.stdout}{done.stderr}")
        return value[1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)
        if self._mapper is not None:
            self._mapper.terminate()
            self._mapper.wait(START_S)
            self._mapper = None

    def _start_mapper(self) -> None:
        self._mapper = start_mapper(self._mapper_port, **self.home.account.spawn)

    def environment(self) -> dict[str, str]:
        """The node's, and that of the tools that talk to it."""
        data = self.home.data
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"hlfast-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "logs"),
            # Idle schedulers would spin for work, each on a core that other servers need.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_BOOT_MODULE": _boot_module(),
            # The script then becomes the node instead of waiting for it: signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def answers(self) -> bool:
        """Whether it speaks AMQP. Raises StackError when it has ended."""
        need_running(self.process, self.home.logs / "rabbitmq.log")
        with socket.socket() as client:
            client.settimeout(START_S)
            try:
                client.connect(("127.0.0.1", self.port))
                client.sendall(PROTOCOL_HEADER)
                return len(client.recv(16)) > 0
            except OSError:
                return False
