"""One declaration per endpoint, and the ASGI callable compiled from it.

Nothing of Starlette's Request and Response is made on the way: the head is read once, the body
decoded straight into its model, and the reply handed over as one start and one body message.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hlfast import codec, errors
from hlfast.settings import Settings
from hlfast.web.fields import ID_MAX, USER_ID_MAX, pairs, parse_id, validate
from hlfast.web.head import SCOPE_KEY, Head, client_address, trusted_proxies
from hlfast.web.metrics import EndpointMetrics
from hlfast.web.problems import MethodNotAllowed, send_problem

PREFIX = "/api/v1"
JSON = b"application/json"
C = TypeVar("C")


class Caller(Protocol):
    """Who knows the caller's id from an Authorization header."""

    async def user_id(self, authorization: bytes | None) -> int:
        """Raises errors.Unauthenticated."""


@dataclass(slots=True)
class Call(Generic[C]):
    """One request, decoded. `me` is 0 and `id` is 0 where the endpoint has none."""

    context: C
    me: int
    id: int
    query: Any
    body: Any
    head: Head
    address: str


@dataclass(slots=True)
class Reply:
    """One answer. `version` makes the ETag of endpoints that have one."""

    body: bytes = b""
    status: int = 0  # the endpoint's own
    location: str = ""
    version: int = 0


Handler = Callable[[Call[Any]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A row of ENDPOINTS: what routes, documentation and tests are made from.

    `path` is below /api/v1 and has one parameter at most, `{id}` or `{user_id}`. `statuses` are
    the successes; `errors` those beyond what the row implies (401 for *me*, 422 for any input).
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    anyone: bool = False
    query: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    reply: Any = None
    statuses: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    has_etag: bool = False

    @property
    def name(self) -> str:
        """The operation's name: `posts_get`."""
        return f"{self.handler.__module__.rsplit('.', 2)[1]}_{self.handler.__name__}"

    @property
    def parameter(self) -> str:
        """The path's parameter, or an empty string."""
        return self.path.partition("{")[2].partition("}")[0]

    @property
    def id_max(self) -> int:
        """The largest id that the path's parameter can be."""
        of_user = self.parameter == "user_id" or self.path.startswith("/users/")
        return USER_ID_MAX if of_user else ID_MAX

    def every_status(self) -> tuple[int, ...]:
        """All statuses that a client may get, successes first."""
        implied = {503}
        if not self.anyone:
            implied.add(401)
        if self.parameter:
            implied.add(404)
        if self.query or self.form or self.body:
            implied |= {400, 422}
        if self.form or self.body:
            implied.add(413)
        if self.has_etag:
            implied.add(304)
        return (*self.statuses, *sorted(implied | set(self.errors)))


@dataclass(slots=True)
class CompiledEndpoint:
    """The ASGI application of one endpoint."""

    endpoint: Endpoint
    context: Any
    caller: Caller
    settings: Settings
    trusted: frozenset[str]
    id_max: int = field(init=False)
    metrics: EndpointMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.id_max = self.endpoint.id_max
        self.metrics = EndpointMetrics(self.endpoint.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http only. Raises what is not the domain's for the edge to answer."""
        started = time.perf_counter()
        head: Head = scope[SCOPE_KEY]
        try:
            call = await self._decode(scope, receive, head)
            reply = await self.endpoint.handler(call)
            status = await self._send(send, call, reply)
        except errors.HlfastError as error:
            status = await send_problem(scope, send, head, error)
        except Exception:
            self.metrics.count(500, time.perf_counter() - started)
            raise
        self.metrics.count(status, time.perf_counter() - started)

    async def _decode(self, scope: Scope, receive: Receive, head: Head) -> Call[Any]:
        endpoint = self.endpoint
        me = 0 if endpoint.anyone else await self.caller.user_id(head.authorization)
        if head.content_length is not None:
            refuse_length(head.content_length, self.settings.body_bytes_max)
        number = 0
        for value in scope["path_params"].values():
            number = parse_id(value, self.id_max)
        query = body = None
        if endpoint.query is not None:
            found = scope["query_string"]
            query = validate(endpoint.query, pairs(found, "query") if found else {}, "query")
        if endpoint.body is not None:
            data = await read_body(receive, self.settings.body_bytes_max)
            body = validate(endpoint.body, codec.decode(data), "body")
        elif endpoint.form is not None:
            data = await read_body(receive, self.settings.body_bytes_max)
            body = validate(endpoint.form, pairs(data, "body"), "body")
        address = client_address(scope, head, self.trusted)
        return Call(self.context, me, number, query, body, head, address)

    async def _send(self, send: Send, call: Call[Any], reply: Reply) -> int:
        status = reply.status or self.endpoint.statuses[0]
        body, head = reply.body, call.head
        headers = [(b"x-request-id", head.request_id)]
        if reply.version:
            # With the id: /users/me is somebody else for every caller, in one browser's cache.
            etag = b'"%d-%d"' % (call.id or call.me, reply.version)
            headers += [(b"etag", etag), (b"cache-control", b"private, no-cache")]
            if (
                self.endpoint.has_etag
                and head.if_none_match is not None
                and matches(head.if_none_match, etag)
            ):
                status, body = 304, b""
        else:
            headers.append((b"cache-control", b"no-store"))
        if reply.location:
            headers.append((b"location", reply.location.encode()))
        if status not in (204, 304):
            headers += [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status


def refuse_length(value: bytes, maximum: int) -> None:
    """Raises errors.TooLarge for a body that says that it is too large."""
    if value.isdigit() and int(value) > maximum:
        raise errors.TooLarge(f"The body has more than {maximum} bytes.")


async def read_body(receive: Receive, maximum: int) -> bytes:
    """The body, bounded while it is read. Raises errors.TooLarge, Malformed."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            # The client is gone, or sent chunks that are none and waits for an answer.
            raise errors.Malformed("The body broke off.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > maximum:
            raise errors.TooLarge(f"The body has more than {maximum} bytes.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the client has this version (RFC 9110, 13.1.2: compared weakly)."""
    candidates = (item.strip() for item in if_none_match.split(b","))
    return any(item == b"*" or item.removeprefix(b"W/") == etag for item in candidates)


class Resource:
    """All methods of one path."""

    def __init__(self, methods: Mapping[str, CompiledEndpoint]) -> None:
        self._methods = dict(methods)
        if "GET" in methods:
            self._methods["HEAD"] = methods["GET"]
        self._allow = ", ".join(sorted(self._methods))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI, http only. Raises MethodNotAllowed."""
        compiled = self._methods.get(scope["method"])
        if compiled is None:
            raise MethodNotAllowed(self._allow)
        return compiled(scope, receive, send)


def routes(
    endpoints: Iterable[Endpoint], context: Any, caller: Caller, settings: Settings
) -> Sequence[Route]:
    """Starlette routes, one for each path; a literal path is never taken for a parameter."""
    trusted = trusted_proxies(settings)
    resources: dict[str, dict[str, CompiledEndpoint]] = {}
    for endpoint in endpoints:
        compiled = CompiledEndpoint(endpoint, context, caller, settings, trusted)
        resources.setdefault(endpoint.path, {})[endpoint.method] = compiled
    literal_first = sorted(resources, key=lambda path: "{" in path)
    return [Route(PREFIX + path, Resource(resources[path])) for path in literal_first]
