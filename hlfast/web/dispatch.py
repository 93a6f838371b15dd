"""Which application a path belongs to: a look into a dictionary, before Starlette's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class Dispatch:
    """ASGI: the applications of a table of paths, and for every other path `otherwise`.

    Starlette asks one route after another, each with a regular expression of its own. The paths of
    the table begin with `prefix` and have one parameter at most, in the second segment after it, as
    in `/users/{id}/posts`: a path is looked up as a whole, then by what is around its parameter.
    """

    def __init__(self, prefix: str, otherwise: ASGIApp) -> None:
        self._prefix_end = len(prefix) + 1
        self._otherwise = otherwise
        self._literal: dict[str, ASGIApp] = {}
        self._around: dict[tuple[str, str], tuple[str, ASGIApp]] = {}

    def add(self, paths: Mapping[str, ASGIApp]) -> None:
        """Serve these paths, too; a literal path is never taken for a parameter."""
        for path, app in paths.items():
            before, brace, rest = path.partition("{")
            if brace:
                name, _, after = rest.partition("}")
                self._around[before, after] = name, app
            else:
                self._literal[path] = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI. Not a coroutine of its own: every one of them costs each request."""
        if scope["type"] != "http":
            return self._otherwise(scope, receive, send)
        path = scope["path"]
        app = self._literal.get(path)
        if app is not None:
            scope["path_params"] = {}
            return app(scope, receive, send)
        start = path.find("/", self._prefix_end) + 1
        end = path.find("/", start)
        if end < 0:
            end = len(path)
        found = self._around.get((path[:start], path[end:]))
        if found is None or start == end:
            return self._otherwise(scope, receive, send)
        name, app = found
        scope["path_params"] = {name: path[start:end]}
        return app(scope, receive, send)
