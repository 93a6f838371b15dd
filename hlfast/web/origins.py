"""Pages of other origins: which may call, and what tells a browser so (CORS, RFC 6454)."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hlfast.settings import Settings, origins_of
from hlfast.web.request import SCOPE_KEY, RequestIds, read_head

# Chromium remembers no longer.
MAX_AGE_S = 7200
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = b"Authorization, Content-Type, If-None-Match, Last-Event-ID, Traceparent, X-Request-ID"
EXPOSED = b"ETag, Location, Retry-After, X-Request-ID"
_VARY = (b"vary", b"Origin")
_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins of `HLFAST_ALLOWED_ORIGINS`. False where it is empty: nobody asks then."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = {origin.encode() for origin in origins_of(settings.allowed_origins)}
        self._is_any = b"*" in self._allowed
        self._http_port = settings.http_port

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def allow(self, origin: bytes) -> bytes | None:
        """What Access-Control-Allow-Origin says to this origin, None if it is not allowed."""
        if self._is_any:
            return b"*"
        return origin if origin in self._allowed else None

    def may_connect(self, origin: str, host: str) -> bool:
        """Whether a page may open a websocket: one that is named, or one of our own.

        `host` is the request's Host.
        """
        if not self._allowed or self.allow(origin.encode("utf-8", "replace")) is not None:
            return True
        return self._is_own(origin, host)

    def allow_of(self, origin: str, host: str) -> str | None:
        """What Access-Control-Allow-Origin says on the websocket's port, where our pages call."""
        named = self.allow(origin.encode("utf-8", "replace"))
        if named is not None:
            return named.decode()
        return origin if self._is_own(origin, host) else None

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page has the same host and port, or the API's port on the same host."""
        try:
            page, here = urlsplit(origin), urlsplit(f"//{host}")
            usual = _PORTS.get(page.scheme)
            port = page.port or usual
            if usual is None or page.hostname is None or page.hostname != here.hostname:
                return False
            return port in (here.port or usual, self._http_port)
        except ValueError:
            return False


class Cors:
    """Wraps the edge where other origins may call: answers preflights, and lets answers be read.

    Credentials are never allowed: tokens travel in headers.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, http and lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin, is_preflight = b"", False
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"access-control-request-method":
                is_preflight = scope["method"] == "OPTIONS"
        allowed = self._origins.allow(origin) if origin else None
        if allowed is None:
            headers = [_VARY]
        elif is_preflight:
            await self._answer(scope, send, allowed)
            return
        else:
            headers = [
                _VARY,
                (b"access-control-allow-origin", allowed),
                (b"access-control-expose-headers", EXPOSED),
            ]

        async def allowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, allowing)

    async def _answer(self, scope: Scope, send: Send, allowed: bytes) -> None:
        head = scope[SCOPE_KEY] = read_head(scope, self._request_ids)
        headers = [
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", HEADERS),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
            (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
            (b"x-request-id", head.request_id),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
