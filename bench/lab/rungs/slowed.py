"""The plain rung with a slowdown that is known: for the proof that the lab sees it.

`LAB_SLOWDOWN` is the share of the process's CPU time that is burnt on top, 0.03 for instance.
"""

from __future__ import annotations

import os
import time

from starlette.types import Receive, Scope, Send

from bench.lab.rungs.plain import app as service

SHARE = float(os.environ["LAB_SLOWDOWN"])
# Between two looks at the process's clock, which costs itself.
_REQUESTS = 16


class Slowed:
    """The plain rung with a share of CPU time added, as an ASGI application."""

    def __init__(self) -> None:
        self._requests = 0
        self._seen_s = time.process_time()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await service(scope, receive, send)
        self._requests += 1
        if self._requests % _REQUESTS == 0:
            now = time.process_time()
            until = now + SHARE * (now - self._seen_s)
            while time.process_time() < until:
                pass
            self._seen_s = time.process_time()


app = Slowed()
