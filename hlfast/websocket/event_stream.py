"""Server-sent events: frames to a peer, over an HTTP answer that has no end of its own."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable

from hlfast.websocket.outflow import Outflow, Outgoing
from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue

_COMMENT = b":\n\n"
# When a browser comes back by itself: not all at once after a node has died.
_RETRY_MS = (1000, 5000)


def event_of(kind: bytes, event_id: bytes, data: bytes) -> bytes:
    """One event, of data in one line; without an id the last one stays the client's."""
    id_line = b"id: %b\n" % event_id if event_id else b""
    return b"event: %b\n%bdata: %b\n\n" % (kind, id_line, data)


class EventStream(Outflow):
    """A stream of events. The answer's head goes out with the first of them.

    Closed before that, it is answered with `refusal`, of a close code and its reason: a whole
    answer. `end`, of the same, is the last event of one that was begun.
    """

    __slots__ = ("_comment_timer", "_head", "_refusal")
    _gone_code = CloseCode.NO_STATUS

    def __init__(
        self, writes: WriteQueue, head: bytes, refusal: Callable[[int, str], bytes]
    ) -> None:
        super().__init__(writes)
        # Empty once something is on its way.
        self._head = head
        self._refusal: Callable[[int, str], bytes] | None = refusal
        self._comment_timer: asyncio.TimerHandle | None = None

    def encode(self, frames: bytes) -> bytes:
        """The events of whole frames. A kind of stream says how."""
        raise NotImplementedError

    def end(self, code: int, reason: str) -> bytes:
        """The event that tells the client of the end. A kind of stream says how."""
        raise NotImplementedError

    def begin(self, outgoing: Outgoing) -> None:
        # A dead machine acknowledges no comment; left to itself the kernel waits for 15 minutes.
        # A slow reader looks no different to it, and is to read why it is closed.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            limits = self._writes.limits
            patience_s = max(2 * limits.comment_s, limits.behind_max_s + limits.close_timeout_s)
            outgoing.transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * patience_s)
            )
        super().begin(outgoing)

    def queue(self, frames: bytes, count: int = 1) -> None:
        if self._head and self.is_open:
            retry = b"retry: %d\n" % random.randint(*_RETRY_MS)  # noqa: S311 (no secret)
            head, self._head, self._refusal = self._head + retry, b"", None
            super().queue(head)
            self._comment_later()
        super().queue(self.encode(frames), count)

    def lost(self) -> None:
        if self._comment_timer is not None:
            self._comment_timer.cancel()
        super().lost()

    def _comment_later(self) -> None:
        self._comment_timer = asyncio.get_running_loop().call_later(
            self._writes.limits.comment_s, self._comment
        )

    def _comment(self) -> None:
        # Whoever is behind has enough to read.
        if self.is_open and not self.is_behind:
            super().queue(_COMMENT)
        self._comment_later()

    def _last_words(self, code: int, reason: str) -> bytes:
        return self.end(code, reason) if self._refusal is None else self._refusal(code, reason)

    def _send_close(self, transport: asyncio.Transport, code: int, reason: str) -> None:
        super()._send_close(transport, code, reason)
        # Once all of it has been read.
        transport.close()
