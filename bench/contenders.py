"""The servers that a comparison starts: this tree, the peers, or another commit of the project."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import toolchains
from bench.load import Exchange, WrongAnswer
from hl_utils.servers.process import ROOT
from hl_utils.servers.services import command_of

OURS = "hlfast"
STATIC = "static"
# Any user's JSON: what the bare server answers with.
STATIC_BODY = (
    '{"id":1,"username":"ada","first_name":"Ada","last_name":"Lovelace","birthdate":"1815-12-10",'
    '"bio":"Poetical science.","city":"London","country":"United Kingdom"}'
)


class Static:
    """A request to the bare server, which has but one answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.data = exchange.data

    def accept(self, status: int, body: bytes) -> None:
        """Check the answer. Raises WrongAnswer."""
        if status != 200 or body != STATIC_BODY.encode():
            raise WrongAnswer(f"{status} {body!r} from the bare server")


@dataclass(frozen=True, slots=True)
class Contender:
    """One process that listens on 127.0.0.1; `{port}` stands in `argv` for where."""

    name: str
    argv: tuple[str, ...]
    directory: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    # What has to be there before; gives the versions of it. Raises toolchains.MissingProgram.
    install: Callable[[], dict[str, str]] = dict
    # It leaves what it writes in the outbox, as nothing publishes it.
    leaves_events: bool = True
    # What becomes of each request to it.
    wrap: type[Static] | None = None


_PYTHON = (sys.executable, "-m")
_PEERS = ROOT / "bench" / "peers"
_GO_PEER = ROOT / "build" / "go-peer"
CONTENDERS = {
    OURS: Contender(OURS, (*_PYTHON, "hl_utils", "api"), leaves_events=False),
    STATIC: Contender(
        STATIC,
        (
            *_PYTHON,
            *[
                "granian",
                "--interface",
                "asginl",
                "--loop",
                "uvloop",
                "--no-ws",
                "--port",
                "{port}",
            ],
            "bench.peers.static.app:app",
        ),
        environment={"STATIC_BODY": STATIC_BODY},
        wrap=Static,
    ),
    "FastAPI": Contender(
        "FastAPI",
        (
            *_PYTHON,
            "uvicorn",
            "bench.peers.fastapi.app:app",
            "--port",
            "{port}",
            *("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        ),
    ),
    "Go": Contender(
        "Go",
        (str(_GO_PEER),),
        install=lambda: toolchains.go_program(_PEERS / "go", _GO_PEER),
    ),
    "Fastify": Contender(
        "Fastify",
        ("node", str(_PEERS / "fastify" / "server.js")),
        environment={"NODE_ENV": "production"},
        install=lambda: toolchains.npm_packages(_PEERS / "fastify", ("fastify", "pg")),
    ),
}


@contextmanager
def commit(name: str) -> Iterator[Contender]:
    """The service as another commit has it, in a work tree of its own while the block runs.

    Raises subprocess.CalledProcessError for what is no commit.
    """
    directory = Path(tempfile.mkdtemp(prefix="hlfast-commit-"))
    git = ("git", "-C", str(ROOT), "worktree")
    try:
        subprocess.run([*git, "add", "--quiet", "--detach", directory, name], check=True)
        yield Contender(
            name, (*_PYTHON, command_of(directory), "api"), directory, leaves_events=False
        )
    finally:
        subprocess.run([*git, "remove", "--force", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)
