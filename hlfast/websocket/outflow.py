"""The way out to one peer: what is queued for it, what waits while it does not read, and the end.

What the bytes are, RFC 6455's frames or a stream's events, is the business of those who inherit.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import picows

from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue

_log = logging.getLogger(__name__)

# What a queued frame weighs besides its bytes: its entry in the list and the object's head. Without
# it a peer that pings and never reads would cost twenty times the bound.
_FRAME_HEAD_BYTES = 48


class Outgoing(Protocol):
    """The way out to a peer, which the listener has put where picows expects its transport."""

    transport: asyncio.Transport
    connection: Outflow | None
    # What the peer still sends is read and forgotten.
    discards_input: bool


class Outflow(picows.WSListener):
    """A peer that frames are sent to. Everything is called in the event loop's thread.

    It inherits from what picows calls, so that a websocket is one object.
    """

    __slots__ = (
        "_behind_since",
        "_close_timer",
        "_out",
        "_out_bytes",
        "_out_frames",
        "_outgoing",
        "_transport",
        "_writes",
        "close_code",
        "close_reason",
    )
    # When the peer went without a word.
    _gone_code = CloseCode.ABNORMAL

    def __init__(self, writes: WriteQueue) -> None:
        self._writes = writes
        self._outgoing: Outgoing | None = None
        self._transport: asyncio.Transport | None = None
        # Mostly one frame waits, and no list is made for it.
        self._out: bytes | list[bytes] | None = None
        self._out_bytes = 0
        self._out_frames = 0
        self._behind_since = 0.0
        self._close_timer: asyncio.TimerHandle | None = None
        # 0 while open: else the code that we sent, or the peer's if it was first.
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason = ""

    # What its user overrides

    def on_open(self) -> None:
        """The handshake is done; frames may be queued."""

    def on_caught_up(self) -> None:
        """The peer was behind and has now read everything that was queued."""

    def on_closed(self, code: int, reason: str) -> None:
        """The connection is gone. The code is ours if we closed, else the peer's, else 1006."""

    # What its user calls

    @property
    def is_open(self) -> bool:
        """False before the handshake's end and from the moment either side closes."""
        return not self.close_code

    @property
    def is_behind(self) -> bool:
        """The peer has not read what was written. More is queued, up to the bound."""
        return self._behind_since > 0

    @property
    def behind_since(self) -> float:
        """When it fell behind, by the monotonic clock; 0 when it has not."""
        return self._behind_since

    def queue(self, frames: bytes, count: int = 1) -> None:
        """Write whole frames together with the others of this loop turn (or joining delay)."""
        if self.close_code:
            return
        out = self._out
        if out is None:
            self._out = frames
            if not self._behind_since:
                self._writes.add(self)
        elif isinstance(out, list):
            out.append(frames)
        else:
            self._out = [out, frames]
        self._out_frames += count
        self._out_bytes += len(frames) + _FRAME_HEAD_BYTES
        if self._behind_since or self._out_bytes > self._writes.limits.queue_bytes_max:
            self._hold_to_bound()

    def flush(self) -> None:
        """Write what is queued, as one write. While the peer is behind it waits instead."""
        out = self._out
        if out is None or self._behind_since or self._transport is None:
            return
        self._writes.count(self._out_frames)
        self._out = None
        self._out_bytes = self._out_frames = 0
        if isinstance(out, list):
            out = b"".join(out)
        # What the kernel does not take at once makes the transport call pause_writing.
        self._transport.write(out)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End it, behind what is queued; cut when that takes too long.

        The code is any from 1000 to 4999 that may be on the wire; the reason is cut to 123 bytes.
        """
        if not self.close_code and self._transport is not None:
            self._send_close(self._transport, code, reason)

    def abort(self) -> None:
        """Cut it: what the peer has not read yet may be lost to it."""
        if self._transport is not None:
            self._transport.abort()

    def close_slow_reader(self) -> None:
        """1013: what is queued for the peer is dropped, its last frames are lost to it."""
        if not self.close_code and self._transport is not None:
            self._out = None
            self._out_frames = 0
            self._send_close(self._transport, CloseCode.TRY_AGAIN_LATER, "too slow a reader")

    # What the listener calls

    def begin(self, outgoing: Outgoing) -> None:
        """The way is open; `on_open` is called."""
        self._outgoing = outgoing
        self._transport = outgoing.transport
        outgoing.connection = self
        self.close_code = 0
        # Behind is what the kernel does not take: reported at the first byte, and when all is gone.
        outgoing.transport.set_write_buffer_limits(high=0)
        self._call(self.on_open)

    def lost(self) -> None:
        """The connection is gone; `on_closed` is called."""
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._writes.forget(self)
        self._out = self._transport = None
        if self._outgoing is not None:
            self._outgoing.connection = None  # a cycle fewer for the collector
            self._outgoing = None
        self.close_code = self.close_code or self._gone_code
        self._call(self.on_closed, self.close_code, self.close_reason)

    def pause_writing(self) -> None:
        self._behind_since = time.monotonic()
        self._writes.watch(self)

    def resume_writing(self) -> None:
        self._behind_since = 0.0
        self._writes.forget(self)
        self.flush()
        if not self.close_code and not self._behind_since:
            self._call(self.on_caught_up)

    # What the kinds of peers differ in

    def _last_words(self, code: int, reason: str) -> bytes:
        """What tells the peer of the end."""
        raise NotImplementedError

    def _hold_to_bound(self) -> None:
        """A burst may be more than the bound when its reader takes it; what waits may not."""
        self.flush()
        transport = self._transport
        waiting = self._out_bytes + (transport.get_write_buffer_size() if transport else 0)
        if waiting > self._writes.limits.queue_bytes_max:
            self.close_slow_reader()

    def _call(self, hook: Callable[..., None], *arguments: Any) -> None:
        """The user's own mistake closes with 1011; what is logged of it holds no frame."""
        try:
            hook(*arguments)
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("%s in a connection's %s\n%s", type(error).__name__, hook.__name__, where)
            self.close(CloseCode.INTERNAL_ERROR)

    def _send_close(self, transport: asyncio.Transport, code: int, reason: str) -> None:
        """What is queued and the last words leave in one write; nothing follows them."""
        self.close_code, self.close_reason = code, reason
        out = self._out or []
        frames = [*(out if isinstance(out, list) else [out]), self._last_words(code, reason)]
        self._out = None
        self._writes.count(self._out_frames + 1)
        self._close_timer = asyncio.get_running_loop().call_later(
            self._writes.limits.close_timeout_s, transport.abort
        )
        transport.write(b"".join(frames))
