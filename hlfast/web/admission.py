"""More requests at once than a process can serve soon: refused before anything is done for them."""

from __future__ import annotations

import asyncio
from collections import deque
from math import ceil
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from hlfast.errors import TooSlow, Unavailable
from hlfast.settings import Settings
from hlfast.web.connections import UnderWay
from hlfast.web.problems import URI_SAFE, is_long, problem
from hlfast.web.request import Head

RETRY_AFTER_S = 1
# Refusals are sent together, so often: many at once cost half of as many one by one.
_SENT_EVERY_S = 0.05
# The overload is over when so few requests were in progress so often in a row, not once between two
# bursts; then so many of those who wait are answered at once.
_CALM = 0.25
_CALM_TIMES = 4
# Operators and load balancers look when it matters most. They do not count as in progress either.
NEVER_REFUSED = ("/health/", "/metrics")
_DETAIL = "Too many requests are in progress."
# With gaps for the instance and the request's id: encoded once, for there are many at a time.
_BODY = problem(503, _DETAIL, "%s", "%s")


class AdmissionControl:
    """Counts the requests in progress. One that waits for its client's body is not among them.

    To refuse costs a third of what a read does, nearly all of it in the server below us and in
    the kernel. So refusals, too, have a bound: those beyond wait for their turn, while their
    clients can send nothing more. Without it a process would refuse many and serve few.
    """

    def __init__(self, settings: Settings) -> None:
        self.under_way: UnderWay = {}
        # With so many in progress another one is too many.
        self.requests_max = settings.requests_max
        self._sent_at_once = max(1, round(settings.refusals_per_s_max * _SENT_EVERY_S))
        self._held_max = settings.connections_max
        # Refusals that wait, the oldest first.
        self._held: deque[asyncio.Future[None]] = deque()
        self._calm_times = 0
        self.in_progress = 0
        # Since the start.
        self.refused = 0

    async def refuse(self, scope: Scope, send: Send, head: Head) -> None:
        """Answer 503, in its turn."""
        self.refused += 1
        await self._turn()
        instance = quote(scope["path"].encode("utf-8", "replace"), URI_SAFE).encode()
        body = _BODY % (instance, head.request_id)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", head.request_id),
            (b"cache-control", b"no-store"),
            (b"retry-after", b"%d" % RETRY_AFTER_S),
        ]
        if is_long(head.content_length):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def body_of(self, receive: Receive, head: Head) -> Receive:
        """A `receive` with a deadline; the request is not in progress while its body is awaited."""

        async def wait() -> Message:
            """Raises errors.TooSlow, and errors.Unavailable: too many bodies came at once."""
            head.awaits_body = True
            self.in_progress -= 1
            try:
                message = await receive()
            finally:
                self.in_progress += 1
            if message["type"] != "http.request":
                if head.is_late:
                    raise TooSlow("The body took too long to arrive.")
            elif not message.get("more_body", False):
                head.awaits_body = False
                head.is_read = True
            if self.in_progress > self.requests_max:
                self.refused += 1
                raise Unavailable(_DETAIL, RETRY_AFTER_S)
            return message

        return wait

    def _turn(self) -> asyncio.Future[None]:
        """A future that is done when it is the turn of a refusal."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if not self._held:
            loop.call_later(_SENT_EVERY_S, self._send)
        self._held.append(turn)
        if len(self._held) > self._held_max:
            # Clients that hang up are not known to have done so.
            self._held.popleft().set_result(None)
        return turn

    def _send(self) -> None:
        count = self._sent_at_once
        is_calm = self.in_progress < self.requests_max * _CALM
        self._calm_times = self._calm_times + 1 if is_calm else 0
        if self._calm_times >= _CALM_TIMES:
            # The overload is over, and those who wait need not suffer for it any longer.
            count = max(count, ceil(len(self._held) * _CALM))
        for _ in range(min(count, len(self._held))):
            self._held.popleft().set_result(None)
        if self._held:
            asyncio.get_running_loop().call_later(_SENT_EVERY_S, self._send)
