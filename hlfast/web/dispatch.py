"""Which route a path belongs to: a look into a dictionary before Starlette tries its patterns."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Dispatch:
    """ASGI: the routes given to it, and for every other path `otherwise`.

    Starlette asks one route after another, each with a regular expression of its own. All of these
    begin with `prefix` and have one parameter at most, in the second place after it, as in
    `/users/{id}/posts`: a path is looked up as a whole, then by what stands around its parameter.
    """

    def __init__(self, prefix: str, otherwise: ASGIApp) -> None:
        self._first_place = len(prefix) + 1
        self._otherwise = otherwise
        self._literal: dict[str, ASGIApp] = {}
        self._around: dict[tuple[str, str], tuple[str, ASGIApp]] = {}

    def add(self, routes: Iterable[Route]) -> None:
        """Serve these, too."""
        for route in routes:
            before, brace, rest = route.path.partition("{")
            if brace:
                name, _, after = rest.partition("}")
                self._around[before, after] = name, route.app
            else:
                self._literal[before] = route.app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI. Not a coroutine of its own: every one of them costs each request."""
        if scope["type"] != "http":
            return self._otherwise(scope, receive, send)
        path = scope["path"]
        app = self._literal.get(path)
        if app is not None:
            scope["path_params"] = {}
            return app(scope, receive, send)
        start = path.find("/", self._first_place) + 1
        end = path.find("/", start)
        if end < 0:
            end = len(path)
        found = self._around.get((path[:start], path[end:]))
        if found is None or start == end:
            return self._otherwise(scope, receive, send)
        name, app = found
        scope["path_params"] = {name: path[start:end]}
        return app(scope, receive, send)
