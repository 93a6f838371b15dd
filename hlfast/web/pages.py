"""The pages at `/`, `/lab` and `/asyncapi`, and the files that they load.

All of them are plain files in `web/page/`: read once at start, and never built.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from hlfast import addresses, codec, errors
from hlfast.settings import Settings
from hlfast.web.edge import NOTHING_HERE
from hlfast.web.endpoint import JSON, PREFIX
from hlfast.web.problems import MethodNotAllowed
from hlfast.web.request import SCOPE_KEY

FILES = Path(__file__).with_name("page")
WEBSOCKET = "/ws"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# A Host that may be repeated in a header. For what else there is, as IPv6, CSP has no words.
_HOST = re.compile(r"([A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")
# Nothing but our own files, and no way to make markup out of text.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' {websocket}; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_Headers = list[tuple[bytes, bytes]]


def routes(settings: Settings) -> list[BaseRoute]:
    """Routes of the pages and of their files, which are read now."""
    files = {path.name: _File(path) for path in FILES.iterdir() if path.suffix in _TYPES}
    return [
        Route("/", _Root(settings, files)),
        Route("/asyncapi", _Page(settings, files, "asyncapi.html")),
        Route("/lab", _Page(settings, files, "lab.html")),
        Route("/page/{name}", _Page(settings, files)),
    ]


class _File:
    """A file's bytes, type and ETag."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.content_type = _TYPES[path.suffix]
        self.etag = b'"%b"' % hashlib.sha256(self.body).hexdigest()[:20].encode()


class _Page:
    """One file, or the one that the path names: an ASGI application, http only."""

    def __init__(self, settings: Settings, files: Mapping[str, _File], name: str = "") -> None:
        self._settings = settings
        self._files = files
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises MethodNotAllowed, errors.NotFound."""
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("GET, HEAD")
        file = self._files.get(self._name or scope["path_params"]["name"])
        if file is None:
            raise errors.NotFound(NOTHING_HERE)
        policy = _POLICY.format(websocket=websocket_sources(scope, self._settings))
        headers = [
            (b"etag", file.etag),
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        known = scope[SCOPE_KEY].if_none_match or b""
        if file.etag in known or known.strip() == b"*":
            await _send(scope, send, 304, headers)
        else:
            headers.append((b"content-type", file.content_type))
            await _send(scope, send, 200, headers, file.body)


class _Root(_Page):
    """The page, and for a program what there is besides."""

    def __init__(self, settings: Settings, files: Mapping[str, _File]) -> None:
        super().__init__(settings, files, "index.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page, or with links where JSON is accepted and HTML is not named."""
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        if b"application/json" not in accept or b"text/html" in accept:
            await super().__call__(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("GET, HEAD")
        links = {
            "api": PREFIX,
            "websocket": websocket_reference(scope, self._settings),
            "page": "/",
            "client": "/page/client.js",
            "docs": "/docs",
            "redoc": "/redoc",
            "openapi": "/openapi.json",
            "asyncapi": "/asyncapi.json",
            "live_docs": "/asyncapi",
            "lab": "/lab",
            "health": "/health/ready",
        }
        await _send(scope, send, 200, [(b"content-type", JSON)], codec.encode(links))


async def _send(
    scope: Scope, send: Send, status: int, headers: _Headers, body: bytes = b""
) -> None:
    headers += [
        (b"cache-control", b"no-cache"),
        (b"vary", b"Accept"),
        (b"x-request-id", scope[SCOPE_KEY].request_id),
    ]
    if status != 304:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def websocket_reference(scope: Scope, settings: Settings) -> str:
    """Where the websocket is for whoever asked: a URL reference, relative to the page.

    A front door tells the API for whom it asks (X-Forwarded-For), and has the websocket at its
    own `/ws`. Without one it is on the same host, on a port of its own.
    """
    if settings.ws_url:
        return settings.ws_url
    if _asks_for_others(scope, settings) or settings.ws_port == settings.http_port:
        return WEBSOCKET
    host = re.sub(r":[0-9]*$", "", _host(scope)) or settings.http_host
    return f"//{host}:{settings.ws_port}{WEBSOCKET}"


def _asks_for_others(scope: Scope, settings: Settings) -> bool:
    """Whether a front door asks. A proxy of the client's, which also says for whom, is none."""
    if scope[SCOPE_KEY].forwarded_for is None:
        return False
    trusted = settings.trusted_networks
    address = addresses.parse(scope["client"][0]) if scope.get("client") else None
    return not trusted or (address is not None and addresses.is_among(address, trusted))


def websocket_sources(scope: Scope, settings: Settings) -> str:
    """The websocket's origins for Content-Security-Policy: 'self' lacks them in some browsers."""
    reference = websocket_reference(scope, settings)
    if reference == settings.ws_url:
        return reference
    host = _host(scope) if reference == WEBSOCKET else reference[2 : -len(WEBSOCKET)]
    return f"ws://{host} wss://{host}" if _HOST.fullmatch(host) else "ws: wss:"


def _host(scope: Scope) -> str:
    found = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return found.decode("latin-1")
