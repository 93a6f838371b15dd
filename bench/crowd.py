"""Many people at once: requests that meet in the service, spread over its processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

# Of everybody who registers.
PASSWORD = "correct horse battery"
_names = itertools.count(1)
# In which every process must take connections; the last one may still be starting.
_START_S = 30.0


class Ask(NamedTuple):
    """A request, not sent yet. `path` is below /api/v1 unless it says so itself."""

    method: str
    path: str
    body: Any = None
    token: str = ""
    form: bool = False

    def encoded(self) -> bytes:
        """The bytes on the wire."""
        path = self.path if self.path.startswith("/health") else f"/api/v1{self.path}"
        head = [f"{self.method} {path} HTTP/1.1", "Host: test"]
        if self.token:
            head.append(f"Authorization: Bearer {self.token}")
        body = b""
        if self.form:
            body = urlencode(self.body).encode()
        elif self.body is not None:
            body = json.dumps(self.body).encode()
        head.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*head, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The answer's body, decoded."""
        return json.loads(self.body)

    @property
    def process(self) -> str:
        """Which of the service's processes answered: request ids start with it."""
        return self.headers["x-request-id"].partition("-")[0]


# Far beyond any deadline of the service: a request that nobody answers is to be seen.
_ANSWER_S = 100.0
# Below HLFAST_IDLE_TIMEOUT_S: a connection made anew may be to another process.
_IDLE_S = 60.0


class Line:
    """One connection that stays open, made anew before the server may close it for being idle."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._used_at = 0.0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the connection. Raises OSError."""
        line = cls(url)
        await line._connect()
        return line

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._address.hostname, self._address.port
        )
        self._used_at = time.monotonic()

    def send(self, ask: Ask) -> None:
        """Hand the request to the kernel now."""
        self._writer.write(ask.encoded())

    async def receive(self) -> Answer:
        """The answer of the oldest request. Raises ConnectionError when there will be none."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the answer broke off") from error
        self._used_at = time.monotonic()
        return Answer(int(head[0].split()[1]), headers, body)

    async def ask(self, ask: Ask) -> Answer:
        """One request and its answer. Raises TimeoutError, which names the request."""
        if time.monotonic() - self._used_at > _IDLE_S:
            self.close()
            await self._connect()
        self.send(ask)
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self.receive()
        except TimeoutError:
            raise TimeoutError(f"no answer: {ask.method} {ask.path}") from None

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Person:
    """A user who is logged in, and the requests of theirs."""

    id: int
    username: str
    token: str
    refresh_token: str

    def ask(self, method: str, path: str, body: Any = None) -> Ask:
        """Send a request with the person's token."""
        return Ask(method, path, body, self.token)


@dataclass(slots=True)
class Crowd:
    """`size` connections, as many to each of the API's `processes`."""

    url: str
    size: int = 20
    processes: int = 2
    lines: list[Line] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        share = -(-self.size // self.processes)
        by_process: dict[str, list[Line]] = {}
        spare: list[Line] = []
        deadline = time.monotonic() + _START_S
        while sum(map(len, by_process.values())) < share * self.processes:
            assert time.monotonic() < deadline, f"processes that answer: {len(by_process)}"
            line = await Line.open(self.url)
            process = (await line.ask(Ask("GET", "/health/live"))).process
            mine = by_process.setdefault(process, [])
            if len(mine) < share:
                mine.append(line)
            else:
                spare.append(line)
                await asyncio.sleep(0.001)
        for line in spare:
            line.close()
        # Neighbours are of different processes.
        self.lines = list(itertools.chain(*zip(*by_process.values(), strict=True)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for line in self.lines:
            line.close()

    async def ask(self, ask: Ask) -> Answer:
        """One request, on the first line."""
        return await self.lines[0].ask(ask)

    async def at_once(self, asks: Sequence[Ask]) -> list[Answer]:
        """The answers, in order, of requests that are all under way before any is read."""
        assert len(asks) <= len(self.lines), "more requests than lines"
        used = self.lines[: len(asks)]
        for line, ask in zip(used, asks, strict=True):
            line.send(ask)
        # Others begin next time: no line is always the first.
        self.lines = [*self.lines[1:], self.lines[0]]
        return await asyncio.gather(*(line.receive() for line in used))

    async def person(self) -> Person:
        """A new user, logged in."""
        username = f"p{next(_names)}-{secrets.token_hex(4)}"
        new = {"username": username, "password": PASSWORD, "first_name": "P", "last_name": "Q"}
        created = await self.ask(Ask("POST", "/users", new))
        assert created.status == 201, created
        return Person(created.json["id"], username, *await self.log_in(username))

    async def people(self, count: int) -> list[Person]:
        """Several new users, logged in."""
        return [await self.person() for _ in range(count)]

    async def log_in(self, username: str, password: str = PASSWORD) -> tuple[str, str]:
        """The access token and the refresh token."""
        form = {"username": username, "password": password}
        answer = await self.ask(Ask("POST", "/login", form, form=True))
        assert answer.status == 200, answer
        return answer.json["access_token"], answer.json["refresh_token"]

    async def befriend(self, one: Person, other: Person) -> None:
        """The two are friends afterwards."""
        for me, them in ((one, other), (other, one)):
            answer = await self.ask(me.ask("PUT", f"/friends/{them.id}"))
            assert answer.status == 200, answer
