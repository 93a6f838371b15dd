"""One declaration per endpoint, and the ASGI callable compiled from it.

Nothing of Starlette's Request and Response is made on the way: the head is read once, the body
decoded straight into its model, and the reply handed over as one start and one body message.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from hlfast import addresses, codec, errors
from hlfast.addresses import Network
from hlfast.ids import ID_MAX, USER_ID_MAX, parse_id
from hlfast.metrics import EndpointMetrics, Sampler
from hlfast.settings import Settings
from hlfast.web.fields import NoQuery, pairs, validate
from hlfast.web.forms import form_fields
from hlfast.web.problems import MethodNotAllowed, send_problem
from hlfast.web.request import SCOPE_KEY, Head, client_address

PREFIX = "/api/v1"
JSON = b"application/json"
_JSON = (b"content-type", JSON)
_PRIVATE = (b"cache-control", b"private, no-cache")
_NO_STORE = (b"cache-control", b"no-store")
# Whoever has too many requests under way may try again when some are answered.
_SHARE_RETRY_AFTER_S = 1
S = TypeVar("S")


class Caller(Protocol):
    """Who knows the caller's id from an Authorization header."""

    def known(self, authorization: bytes | None) -> int:
        """The id if nothing has to be looked up or verified for it, else 0."""

    async def user_id(self, authorization: bytes | None) -> int:
        """The id, however long it takes to find out. Raises errors.Unauthenticated."""

    def token_version(self, authorization: bytes | None) -> int:
        """The version that the token bears. Raises errors.Unauthenticated."""


@dataclass(slots=True)
class Call(Generic[S]):
    """One request, decoded, and the feature that answers it.

    `me` is 0 and `id` is 0 where the endpoint has none.
    """

    service: S
    me: int
    id: int
    query: Any
    head: Head
    scope: Scope
    endpoint: CompiledEndpoint
    body: Any = None

    @property
    def address(self) -> str:
        """The client's, as what is counted per address counts it; empty if nobody knows it."""
        address = client_address(self.scope, self.head, self.endpoint.trusted)
        return addresses.share(address) if address else ""

    @property
    def token_version(self) -> int:
        """The version of the caller's token, for statements that hold it against the user's row.

        Raises errors.Unauthenticated.
        """
        return self.endpoint.caller.token_version(self.head.authorization)


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
    the successes; `errors` says what those mean that are beyond what the row implies (401 unless
    it is public, 422 for any input), or mean something of their own here. `tag` is the feature's
    name, `about` a sentence beside the summary.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    about: str
    tag: str
    is_public: bool = False
    query: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    reply: Any = None
    statuses: tuple[int, ...] = (200,)
    errors: Mapping[int, str] = field(default_factory=dict, hash=False)
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
        # 400 and 422: a query that is malformed, or that nobody knows.
        implied = {400, 422, 503}
        if not self.is_public:
            implied |= {401, 429}
        if self.parameter:
            implied.add(404)
        if self.form or self.body:
            implied |= {408, 413}
        if self.form:
            implied.add(415)
        if self.has_etag:
            implied.add(304)
        return (*self.statuses, *sorted(implied | self.errors.keys()))


@dataclass(slots=True)
class CompiledEndpoint:
    """The ASGI application of one endpoint."""

    endpoint: Endpoint
    service: Any
    caller: Caller
    settings: Settings
    trusted: Sequence[Network]
    metrics: EndpointMetrics
    # Requests under way by user, of all endpoints of this process.
    under_way: dict[int, int]
    id_max: int = field(init=False)
    _status: int = field(init=False)
    _user_requests_max: int = field(init=False)
    # What a request without a query string asks for; None where some field is required.
    _usual_query: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.id_max = self.endpoint.id_max
        self._status = self.endpoint.statuses[0]
        self._user_requests_max = self.settings.user_requests_max
        with suppress(ValidationError):
            self._usual_query = (self.endpoint.query or NoQuery)()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http only. Raises what is not the domain's for the edge to answer.

        One coroutine as far as it goes: every further one costs each request.
        """
        started = time.perf_counter()
        head: Head = scope[SCOPE_KEY]
        endpoint = self.endpoint
        under_way = self.under_way
        counted = 0
        try:
            me = 0
            if not endpoint.is_public:
                authorization = head.authorization
                me = self.caller.known(authorization) or await self.caller.user_id(authorization)
                others = under_way.get(me, 0)
                if others >= self._user_requests_max:
                    raise errors.TooMany(
                        f"You have {others} requests under way.", _SHARE_RETRY_AFTER_S
                    )
                under_way[me] = others + 1
                counted = me
            call = self._decode(scope, head, me)
            if endpoint.body is not None or endpoint.form is not None:
                data = await read_body(receive, self.settings.body_bytes_max)
                call.body = self._body(scope, data)
            reply = await endpoint.handler(call)
            status, headers, body = self._answer(call, reply)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except errors.HlfastError as error:
            status = await send_problem(scope, receive, send, head, error)
        except Exception:
            self.metrics.count(500, time.perf_counter() - started)
            raise
        finally:
            if counted:
                if under_way[counted] == 1:
                    del under_way[counted]
                else:
                    under_way[counted] -= 1
        self.metrics.count(status, time.perf_counter() - started)

    def _decode(self, scope: Scope, head: Head, me: int) -> Call[Any]:
        if head.content_length is not None:
            refuse_length(head.content_length, self.settings.body_bytes_max)
        number = 0
        for value in scope["path_params"].values():
            number = parse_id(value, self.id_max)
        query = self._usual_query
        given = scope["query_string"]
        if given or query is None:
            query = validate(self.endpoint.query or NoQuery, pairs(given, "query"), "query")
        return Call(self.service, me, number, query, head, scope, self)

    def _body(self, scope: Scope, data: bytes) -> Any:
        if self.endpoint.body is not None:
            return validate(self.endpoint.body, codec.decode(data), "body")
        form = self.endpoint.form
        assert form is not None  # or there is none to read  # noqa: S101
        return validate(form, form_fields(scope, data, form.model_fields), "body")

    def _answer(
        self, call: Call[Any], reply: Reply
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        status = reply.status or self._status
        body, head = reply.body, call.head
        headers = [(b"x-request-id", head.request_id)]
        if reply.version:
            # With the id: /users/me is somebody else for every caller, in one browser's cache.
            etag = b'"%d-%d"' % (call.id or call.me, reply.version)
            headers += ((b"etag", etag), _PRIVATE)
            if (
                self.endpoint.has_etag
                and head.if_none_match is not None
                and matches(head.if_none_match, etag)
            ):
                status, body = 304, b""
        else:
            headers.append(_NO_STORE)
        if reply.location:
            headers.append((b"location", reply.location.encode()))
        if status not in (204, 304):
            headers += (_JSON, (b"content-length", b"%d" % len(body)))
        return status, headers, body


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


def paths(
    endpoints: Iterable[Endpoint],
    services: Mapping[str, Any],
    caller: Caller,
    settings: Settings,
    sampler: Sampler,
) -> dict[str, Resource]:
    """The ASGI application of each path of the table: what Dispatch is given."""
    trusted = settings.trusted_networks
    resources: dict[str, dict[str, CompiledEndpoint]] = {}
    under_way: dict[int, int] = {}
    for endpoint in endpoints:
        metrics = sampler.endpoint(endpoint.name)
        compiled = CompiledEndpoint(
            endpoint, services[endpoint.tag], caller, settings, trusted, metrics, under_way
        )
        resources.setdefault(endpoint.path, {})[endpoint.method] = compiled
    return {PREFIX + path: Resource(methods) for path, methods in resources.items()}
