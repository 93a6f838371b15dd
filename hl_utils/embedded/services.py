"""The service's own processes as children, and the few requests that we make to them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import urlencode

from hl_utils.embedded.processes import (
    HOME_MARK,
    SERVICE_ORPHANS,
    Server,
    end,
    service_mark,
    services_of,
)
from hl_utils.servers.home import Home, StackError
from hl_utils.servers.runtime import Runtime
from hlfast import addresses
from hlfast.settings import Settings

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
LOG_PATIENCE_S = 5.0
OK = 200


def _reached_at(bound: str) -> str:
    """Where on this machine whatever is bound to an address is found: `0.0.0.0` is every one."""
    address = addresses.parse(bound)
    if not bound or (address and address.is_unspecified):
        return "::1" if isinstance(address, IPv6Address) else "127.0.0.1"
    return bound


def _first_port_of_others() -> int:
    """Below it only root may listen."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return 1024


class Service(Server):
    """One `hlfast VERB` with everything that it needs to know in its environment."""

    verb: str
    port_setting: str

    def __init__(
        self, home: Home, settings: Settings, runtime: Runtime, host: str, port: int
    ) -> None:
        super().__init__(home.logs / f"{self.verb}.log", home.account)
        self._home = home
        self._runtime = runtime
        self._settings = settings
        self._bound = host
        self._host = _reached_at(host)
        self._port = port
        self.ending = ((signal.SIGTERM, settings.drain_timeout_s + 0.5), (signal.SIGKILL, 2.0))

    @property
    def address(self) -> str:
        """Host and port where a browser on this machine finds it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def check(self) -> None:
        """Raises StackError if it could not listen on its port."""
        if self._home.account.switched and self._port < _first_port_of_others():
            raise StackError(
                f"port {self._port} is for root alone, and {self.name} does not run as root: set "
                f"{self.port_setting} to another one, and put HAProxy before it"
            )
        try:
            family, *_, address = socket.getaddrinfo(
                self._bound, self._port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As the service does it: connections that just ended are in nobody's way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
        except OSError as error:
            raise StackError(
                f"cannot listen on port {self._port} of {self._bound}: {error.strerror}; "
                f"set {self.port_setting} to another one"
            ) from None

    async def start(self) -> None:
        """Start it, and wait until it is ready to serve. Raises StackError."""
        settings, runtime = self._settings, self._runtime
        known = {
            # No load balancer looks, unless somebody has put one there and says so.
            "HLFAST_DRAIN_NOTICE_S": os.environ.get("HLFAST_DRAIN_NOTICE_S", "0"),
            HOME_MARK: service_mark(self._home.path, self.verb),
            "HLFAST_HOME": str(self._home.path),
            "HLFAST_SECRET": settings.secret,
            "DATABASE_URL": settings.database_url,
            "DIALOGS_DATABASE_URL": settings.dialogs_database_url,
            "REDIS_URL": settings.redis_url,
            "EVENTS_URL": settings.events_url,
            "HLFAST_LAB": str(settings.lab).lower(),
        }
        await self._launch(
            *(runtime.python, "-m", "hl_utils", self.verb),
            cwd=runtime.directory,
            env={**self._inherited(), **runtime.environment, **known},
        )
        await self._until(self._is_ready, START_TIMEOUT_S)

    def _inherited(self) -> dict[str, str]:
        """The caller's environment without the secrets of other servers, which `.env` has, too.

        A directory of root's is no home for another user.
        """
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("HLFAST_", "PG")) or not name.endswith(("_PASSWORD", "_COOKIE"))
        }
        account = self._home.account
        if account.switched:
            inherited |= {
                "HOME": str(self._home.data),
                "USER": account.name,
                "LOGNAME": account.name,
            }
        return inherited

    async def clear(self) -> None:
        """End workers that outlived the main process: they hold the port."""
        await end(services_of(self._home.path, self.verb), SERVICE_ORPHANS)

    async def _is_ready(self) -> bool:
        return await self._answers("/health/ready")

    async def _answers(self, path: str) -> bool:
        try:
            return await self._ask(f"GET {path}") == OK
        except StackError:
            return False

    async def _ask(self, request: str, content_type: str = "", body: bytes = b"") -> int:
        """The status of the answer. Raises StackError if there is none."""
        head = (
            f"{request} HTTP/1.1\r\nHost: {self.address}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n"
        )
        if content_type:
            head += f"Content-Type: {content_type}\r\n"
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(f"{head}\r\n".encode() + body)
                answer = await reader.readline()
                writer.close()
                return int(answer.split(b" ")[1])
        except (OSError, TimeoutError, IndexError, ValueError):
            raise StackError(f"{self.name} at {self.address} does not answer") from None


class Api(Service):
    """The HTTP API as a process of the stack."""

    name = "the API"
    verb = "api"
    port_setting = "HLFAST_HTTP_PORT"

    def __init__(self, home: Home, settings: Settings, runtime: Runtime) -> None:
        super().__init__(home, settings, runtime, settings.http_host, settings.http_port)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://{self.address}"

    async def logs_in(self, username: str, password: str) -> bool:
        """Whether this is the user's password. Raises StackError without an answer."""
        form = urlencode({"username": username, "password": password}).encode()
        login = await self._ask("POST /api/v1/login", "application/x-www-form-urlencoded", form)
        return login == OK


class Websocket(Service):
    """The websocket server as a process of the stack."""

    name = "the websocket server"
    verb = "ws"
    port_setting = "HLFAST_WS_PORT"

    def __init__(self, home: Home, settings: Settings, runtime: Runtime) -> None:
        super().__init__(home, settings, runtime, settings.ws_host, settings.ws_port)

    async def start(self) -> None:
        """Start it, and wait until it is ready to serve. Raises StackError."""
        self._alone_until = time.monotonic() + LOG_PATIENCE_S
        await super().start()

    async def _is_ready(self) -> bool:
        # A log that is not there is no reason for the rest not to start: it is looked for again.
        word = "ready" if time.monotonic() < self._alone_until else "live"
        return await self._answers(f"/health/{word}")

    @property
    def url(self) -> str:
        """Where a browser on this machine connects to."""
        return f"ws://{self.address}/ws"
