"""Health: whether the process lives, should get requests, and which server does not answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from starlette.routing import Route

from hlfast import codec
from hlfast.web.draining import is_draining
from hlfast.web.endpoint import JSON
from hlfast.web.plain import PlainGet

# Of all dependencies the one without which nothing can be answered.
NEEDED = "database"


class Look(Protocol):
    """Asks every dependency whether it answers, by name: now, or a moment ago where that costs."""

    def __call__(self, *, now: bool) -> Awaitable[Mapping[str, bool]]:
        """Takes a second or so at most, and does not raise."""


def routes(look: Look) -> list[Route]:
    """Routes of /health/live, /health/ready and /health/dependencies."""

    def status(code: int, word: str) -> tuple[int, bytes, bytes]:
        return code, JSON, codec.encode({"status": word})

    async def live() -> tuple[int, bytes, bytes]:
        return status(200, "ok")

    async def ready() -> tuple[int, bytes, bytes]:
        if is_draining():
            return status(503, "draining")
        found = await look(now=False)
        if not found[NEEDED]:
            return status(503, "unavailable")
        return status(200, "ok" if all(found.values()) else "degraded")

    async def dependencies() -> tuple[int, bytes, bytes]:
        found = await look(now=True)
        words = {name: "ok" if answers else "unavailable" for name, answers in found.items()}
        return 200 if all(found.values()) else 503, JSON, codec.encode(words)

    return [
        Route("/health/live", PlainGet(live)),
        Route("/health/ready", PlainGet(ready)),
        Route("/health/dependencies", PlainGet(dependencies)),
    ]
