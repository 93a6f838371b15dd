"""The embedded Redis: a private unix socket, and an append-only file, as it holds the event log."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

from hl_utils.embedded.processes import SERVERS, Server, end, servers_in
from hl_utils.servers.home import Home, StackError
from hl_utils.servers.process import ENVIRONMENT
from hl_utils.servers.redis import PING, PONG, redis

# Reading a long append-only file takes its time.
START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 1.0
# Since this version the append-only file is a directory, which older ones overlook.
MAJOR_OF_APPEND_DIRECTORY = 7


class Redis(Server):
    """One Redis or Valkey server in the home."""

    name = "Redis"
    ending = SERVERS

    def __init__(self, home: Home, program: Path) -> None:
        super().__init__(home.logs / "redis.log", home.account)
        self._home = home
        self._program = program
        self._directory = home.data / "redis"
        self._socket = home.sockets / "redis.sock"

    @property
    def url(self) -> str:
        """How the service reaches it."""
        return f"unix://{self._socket}"

    @property
    def product(self) -> str:
        """The product that a program is: Redis or Valkey."""
        return "Valkey" if self._program.name.startswith("valkey") else "Redis"

    def version(self) -> str:
        """The program's version. Raises StackError if it does not run."""
        try:
            shown = subprocess.run(
                [self._program, "--version"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"{self._program} does not run: {error}") from None
        found = re.search(r"v=([\d.]+)", shown)
        if found is None:
            raise StackError(f"{self._program} is no Redis server")
        return found[1]

    async def start(self) -> None:
        """Start it, and wait until it has read its data. Raises StackError."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._home.account.own(self._directory)
        if (self._directory / "appendonlydir").exists() and (
            int(self.version().partition(".")[0]) < MAJOR_OF_APPEND_DIRECTORY
        ):
            raise StackError(
                f"{self._directory} was written by Redis {MAJOR_OF_APPEND_DIRECTORY} or newer, "
                f"{self._program} is {self.version()}: put the newer one on PATH"
            )
        self._socket.unlink(missing_ok=True)
        # Confirmed events must not be lost with it.
        command = redis(self._program, self._directory, self._socket, appendfsync="always")
        await self._launch(*command, cwd=self._directory, env=ENVIRONMENT)
        await self._until(self._is_ready, START_TIMEOUT_S)

    async def clear(self) -> None:
        """End one that outlived its parent: two would write one file."""
        await end(servers_in(self._directory), SERVERS)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                writer.write(PING)
                answer = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return answer == PONG
