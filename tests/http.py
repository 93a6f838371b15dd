"""An HTTP client for tests, in those of httpx's words that they use, and much cheaper.

Bytes go out as they were given, in one write, and nothing is sent again.
"""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

TIMEOUT_S = 30.0
_RECEIVED_AT_ONCE = 65536
# What may stand in a path or a query as it is; all else is sent in UTF-8, each byte as %XX.
_PATH_SAFE = "!$%&'()*+,/:;=@[\\]^|~"
_QUERY_SAFE = "!$%&'()*+,/:;=?@[\\]^`{|}~"
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9]\d\d) [^\r\n]*")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

Text = str | bytes
HeaderFields = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[Text, Text]]


class Headers(dict[str, str]):
    """By name in any case. A name that comes again has one value, with commas between."""

    def add(self, name: str, value: str) -> None:
        """One more field of an answer."""
        name = name.lower()
        super().__setitem__(name, f"{self[name]}, {value}" if name in self else value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header that need not be there."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request of `method` for `target`, which is a path and a query."""

    method: str
    target: str
    status_code: int
    headers: Headers
    content: bytes

    @property
    def path(self) -> str:
        """The path that was asked for, without escapes."""
        return unquote(self.target.partition("?")[0])

    @property
    def text(self) -> str:
        """The body, for people."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.content)


class _Connection:
    """One exchange after the other."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arrivals = select.poll()
        self._arrivals.register(self._socket, select.POLLIN)
        self._received = b""
        self.close = self._socket.close

    def is_open(self) -> bool:
        """Whether nothing came unasked: the end of the connection would."""
        return not self._arrivals.poll(0)

    def exchange(self, method: str, target: str, parts: Iterable[bytes]) -> tuple[Response, bool]:
        """The answer, and whether another one may follow it. Raises OSError."""
        # Whoever refuses it before it is whole says why.
        with suppress(ConnectionError):
            for part in parts:
                self._socket.sendall(part)
        status = 100
        while status < 200:
            status, headers = self._head()
        content, ends = self._body(method, status, headers)
        if self._received:
            raise ConnectionError(f"more than the answer came: {self._received!r}")
        goes_on = not ends and "close" not in headers.get("connection", "").lower()
        return Response(method, target, status, headers, content), goes_on

    def _head(self) -> tuple[int, Headers]:
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        if (status := _STATUS_LINE.fullmatch(first)) is None:
            raise ConnectionError(f"no status line: {first!r}")
        headers = Headers()
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ConnectionError(f"no header: {line!r}")
            headers.add(name, value.strip(" \t"))
        return int(status[1]), headers

    def _body(self, method: str, status: int, headers: Headers) -> tuple[bytes, bool]:
        """It, and whether the end of the connection is its end."""
        if method == "HEAD" or status in (204, 304):
            return b"", False
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b"")), False
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"])), False
        parts = [self._received]
        self._received = b""
        while part := self._socket.recv(_RECEIVED_AT_ONCE):
            parts.append(part)
        return b"".join(parts), True

    def _chunk(self) -> bytes:
        size = int(self._until(b"\r\n").partition(b";")[0], 16)
        chunk = self._exactly(size)
        if self._exactly(2) != b"\r\n":
            raise ConnectionError("a chunk is longer than it says")
        return chunk

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        before, _, self._received = self._received.partition(end)
        return before

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        found, self._received = self._received[:size], self._received[size:]
        return found

    def _receive(self) -> None:
        received = self._socket.recv(_RECEIVED_AT_ONCE)
        if not received:
            raise ConnectionError(f"closed within an answer, after {self._received!r}")
        self._received += received


class HttpClient:
    """Asks one server, from as many threads at once as want to. Paths are below `base_url`.

    A path may be a whole URL of that server. `headers` go with every request.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        base = urlsplit(base_url)
        assert base.hostname and base.port, base_url
        self.headers = Headers()
        for name, value in headers.items():
            self.headers[name] = value
        self._address = base.hostname, base.port
        self._root = f"{base.scheme}://{base.netloc}"
        self._base_path = base.path
        self._defaults = {"Host": base.netloc, "Accept": "*/*", "User-Agent": "tests"}
        self._idle: list[_Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections, of which none is in use."""
        while self._idle:
            self._idle.pop().close()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: HeaderFields | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        content: Text | Iterator[bytes] = b"",
    ) -> Response:
        """The answer. Raises OSError if there is none.

        `data` is sent as a form, and each bytes of an iterator as a chunk, in a write of its own.
        `params` replace a query in the URL.
        """
        target = self._target(url, params)
        fields = {**self._defaults, **self.headers}
        if json is not None:
            fields["Content-Type"], content = "application/json", _JSON.encode(json)
        elif data:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(data, doseq=True)
        body = content.encode() if isinstance(content, str) else content
        if not isinstance(body, bytes):
            fields["Transfer-Encoding"] = "chunked"
        elif body or method in ("POST", "PUT", "PATCH"):
            fields["Content-Length"] = str(len(body))
        own = _lines(headers)
        names = {name.lower() for name, _ in own}
        lines = [f"{method} {target} HTTP/1.1".encode()]
        lines += [
            f"{name}: {value}".encode()
            for name, value in fields.items()
            if name.lower().encode() not in names
        ]
        lines += [name + b": " + value for name, value in own]
        head = b"\r\n".join([*lines, b"", b""])
        parts = [head + body] if isinstance(body, bytes) else chain([head], _chunks(body))
        return self._exchange(method, target, parts)

    def get(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("GET", url, **more)

    def head(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("HEAD", url, **more)

    def options(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("OPTIONS", url, **more)

    def post(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("POST", url, **more)

    def put(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("PUT", url, **more)

    def patch(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("PATCH", url, **more)

    def delete(self, url: str, **more: Any) -> Response:
        """As `request`."""
        return self.request("DELETE", url, **more)

    def _target(self, url: str, params: Mapping[str, Any] | None) -> str:
        if url.startswith(self._root):
            path = url.removeprefix(self._root) or "/"
        else:
            assert url.startswith("/"), url
            path = self._base_path + url
        path, mark, query = path.partition("?")
        if params is not None:
            query = urlencode({name: _word(value) for name, value in params.items()})
            mark = "?" if query else ""
        return _escaped(path, _PATH_SAFE) + mark + _escaped(query, _QUERY_SAFE)

    def _exchange(self, method: str, target: str, parts: Iterable[bytes]) -> Response:
        connection = self._connection()
        try:
            response, goes_on = connection.exchange(method, target, parts)
        except BaseException:
            connection.close()
            raise
        if goes_on:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def _connection(self) -> _Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return _Connection(*self._address)
            if connection.is_open():
                return connection
            connection.close()


def ask(method: str, url: str, **more: Any) -> Response:
    """The answer to one request, as `HttpClient.request` has it."""
    address = urlsplit(url)
    with HttpClient(f"{address.scheme}://{address.netloc}", {}) as client:
        return client.request(method, url, **more)


def get(url: str, **more: Any) -> Response:
    """The answer to one GET."""
    return ask("GET", url, **more)


def _escaped(text: str, safe: str) -> str:
    """What can't be sent as it is, escaped; what is escaped already stays."""
    return quote(_LONE_PERCENT.sub("%25", text), safe=safe)


def _word(value: Any) -> str:
    """A value of a query."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _chunks(parts: Iterator[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _lines(headers: HeaderFields | None) -> list[tuple[bytes, bytes]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return [(_bytes(name), _bytes(value)) for name, value in pairs]


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
