"""What RFC 6455 demands of an application: whole messages, the close handshake, slow readers.

picows parses the handshake and single frames, checks opcodes, masks, lengths and most of a close
frame, and notices a peer that went silent. Fragments, UTF-8, reserved bits, the end of a
connection and what is written when are decided here.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol, cast

import picows
from picows import WSMsgType

from hlfast.websocket.wire import CloseCode, close_frame, may_be_received, pong_frame, text_frame
from hlfast.websocket.write_queue import WriteQueue

_log = logging.getLogger(__name__)

# Looked up once: picows makes an enum member of every C value, and these are compared by identity.
_CONTINUATION = WSMsgType.CONTINUATION
_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_PING = WSMsgType.PING
_PONG = WSMsgType.PONG
_CLOSE = WSMsgType.CLOSE

# What a queued frame weighs besides its bytes: its place in the list and the object's head. Without
# it a peer that pings and never reads would cost twenty times the bound.
_FRAME_HEAD_BYTES = 48

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


def _goes_on_in_utf8(decoder: codecs.IncrementalDecoder, octets: bytes, final: bool) -> bool:
    """Whether a text is still UTF-8 with these octets, which may end within a character."""
    try:
        decoder.decode(octets, final)
    except UnicodeDecodeError:
        return False
    # The first two octets of a surrogate, which Python keeps until it has seen the third.
    held = decoder.getstate()[0]
    return not (held[:1] == b"\xed" and held[1:2] > b"\x9f")


class Outgoing(Protocol):
    """The way out to a peer, which the listener has put where picows expects its transport."""

    transport: asyncio.Transport
    connection: Connection | None
    # What the peer still sends is read and forgotten.
    discards_input: bool


class Connection(picows.WSListener):
    """One websocket. Subclass it with `__slots__` and the `on_...` methods that you need.

    Everything is called in the event loop's thread. After `close` or a failure the peer's
    messages are no longer delivered and `queue` does nothing; `on_closed` comes once, last.
    """

    __slots__ = (
        "_behind_since",
        "_close_timer",
        "_decoder",
        "_message",
        "_out",
        "_out_bytes",
        "_outgoing",
        "_transport",
        "_window_frames",
        "_window_start",
        "_writes",
        "close_code",
        "close_reason",
    )

    def __init__(self, writes: WriteQueue) -> None:
        self._writes = writes
        self._outgoing: Outgoing | None = None
        self._transport: asyncio.Transport | None = None
        self._message: bytearray | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        # Mostly one frame waits, and no list is made for it.
        self._out: bytes | list[bytes] | None = None
        self._out_bytes = 0
        self._behind_since = 0.0
        self._window_start = 0.0
        self._window_frames = 0
        self._close_timer: asyncio.TimerHandle | None = None
        # 0 while open: else the code that we sent, or the peer's if it was first.
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason = ""

    # What the user of a connection overrides

    def on_open(self) -> None:
        """The handshake is done; frames may be queued."""

    def on_text(self, text: str) -> None:
        """One whole text message."""

    def on_binary(self, data: bytes) -> None:
        """One whole binary message."""

    def on_caught_up(self) -> None:
        """The peer was behind and has now read everything that was queued."""

    def on_closed(self, code: int, reason: str) -> None:
        """The connection is gone. The code is ours if we closed, else the peer's, else 1006."""

    # What the user of a connection calls

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

    def queue(self, frame: bytes) -> None:
        """Write a whole frame together with the others of this loop turn (or joining delay)."""
        if self.close_code:
            return
        out = self._out
        if out is None:
            self._out = frame
            if not self._behind_since:
                self._writes.add(self)
        elif isinstance(out, list):
            out.append(frame)
        else:
            self._out = [out, frame]
        self._out_bytes += len(frame) + _FRAME_HEAD_BYTES
        if self._behind_since or self._out_bytes > self._writes.limits.queue_bytes_max:
            self._hold_to_bound()

    def send_text(self, payload: bytes) -> None:
        """Queue one text message, UTF-8 already."""
        self.queue(text_frame(payload))

    def flush(self) -> None:
        """Write what is queued, as one write. While the peer is behind it waits instead."""
        out = self._out
        if out is None or self._behind_since or self._transport is None:
            return
        self._out = None
        self._out_bytes = 0
        if isinstance(out, list):
            self._writes.count(len(out))
            out = b"".join(out)
        else:
            self._writes.count(1)
        # What the kernel does not take at once makes the transport call pause_writing.
        self._transport.write(out)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the close handshake, behind what is queued; cut when it takes too long.

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
            self._send_close(self._transport, CloseCode.TRY_AGAIN_LATER, "too slow a reader")

    # What picows calls

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        # It keeps the whole request for as long as the connection lives: the token, and ~2 KB.
        transport.request.headers.clear()
        transport.request.path = b""
        # What picows takes for its transport: see listen.py.
        self._outgoing = outgoing = cast("Outgoing", transport.underlying_transport)
        self._transport = outgoing.transport
        outgoing.connection = self
        self.close_code = 0
        self._window_start = time.monotonic()
        # Behind is what the kernel does not take: told at the first byte, and when all is gone.
        outgoing.transport.set_write_buffer_limits(high=0)
        self._call(self.on_open)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if self.close_code:
            # After our close frame only the peer's own matters, and nothing after that.
            if kind is _CLOSE and self._transport is not None:
                self._transport.close()
        elif self._writes.limits.frames_max and self._too_many_frames():
            self._fail(CloseCode.TOO_MANY_FRAMES, "too many frames")
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        elif kind is _PING:
            # Not picows' own pong: it would overtake what is queued and know no bound.
            self.queue(pong_frame(frame.get_payload_as_bytes()))
        elif kind is _CLOSE:
            self._answer_close(frame.get_payload_as_bytes())
        elif kind is not _PONG:
            self._on_data_frame(kind, frame)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._writes.forget(self)
        self._out = None
        self._message = self._decoder = self._transport = None
        if self._outgoing is not None:
            self._outgoing.connection = None  # a cycle fewer for the collector
            self._outgoing = None
        self.close_code = self.close_code or CloseCode.ABNORMAL
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

    def fail_soon(self, code: int, reason: str) -> None:
        """picows wants to close: not before the frame that it is yet to deliver was answered."""
        asyncio.get_running_loop().call_soon(self._fail, code, reason)

    # Messages

    def _on_data_frame(self, kind: WSMsgType, frame: picows.WSFrame) -> None:
        message = self._message
        if kind is _CONTINUATION:
            if message is None:
                self._fail(CloseCode.PROTOCOL_ERROR, "there is no message to continue")
            else:
                self._add_fragment(message, frame)
        elif message is not None:
            self._fail(CloseCode.PROTOCOL_ERROR, "a message was not finished")
        elif not frame.fin:
            self._message = message = bytearray()
            self._decoder = _utf8_decoder() if kind is _TEXT else None
            self._add_fragment(message, frame)
        elif kind is _BINARY:
            self._call(self.on_binary, frame.get_payload_as_bytes())
        else:
            try:
                text = frame.get_payload_as_utf8_text()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_TEXT, "not UTF-8")
            else:
                self._call(self.on_text, text)

    def _add_fragment(self, message: bytearray, frame: picows.WSFrame) -> None:
        """Text is decoded as it comes, to fail at once; what is kept is bytes, which are bounded.

        (A thousand pieces of text of one byte each would weigh fifty times that.)
        """
        decoder = self._decoder
        payload = frame.get_payload_as_bytes()
        message += payload
        if len(message) > self._writes.limits.message_bytes_max:
            self._fail(CloseCode.TOO_BIG, "the message is too big")
            return
        if decoder is not None and not _goes_on_in_utf8(decoder, payload, bool(frame.fin)):
            self._fail(CloseCode.INVALID_TEXT, "not UTF-8")
            return
        if frame.fin:
            self._message = self._decoder = None
            if decoder is None:
                self._call(self.on_binary, bytes(message))
            else:
                self._call(self.on_text, message.decode())

    def _call(self, hook: Callable[..., None], *arguments: Any) -> None:
        """The user's own mistake closes with 1011; what is logged of it holds no frame."""
        try:
            hook(*arguments)
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("%s in a websocket's %s\n%s", type(error).__name__, hook.__name__, where)
            self.close(CloseCode.INTERNAL_ERROR)

    def _too_many_frames(self) -> bool:
        self._window_frames += 1
        if self._window_frames <= self._writes.limits.frames_max:
            return False
        # The clock is looked at once a window only.
        now = time.monotonic()
        if now - self._window_start >= self._writes.limits.frames_window_s:
            self._window_start = now
            self._window_frames = 1
            return False
        return True

    def _hold_to_bound(self) -> None:
        """A burst may be more than the bound when its reader takes it; what waits may not."""
        self.flush()
        transport = self._transport
        waiting = self._out_bytes + (transport.get_write_buffer_size() if transport else 0)
        if waiting > self._writes.limits.queue_bytes_max:
            self.close_slow_reader()

    # The end

    def _answer_close(self, payload: bytes) -> None:
        """The peer closes: the same code back, then TCP, which is the server's to close."""
        code = int.from_bytes(payload[:2], "big") if payload else CloseCode.NO_STATUS
        # picows has looked at the reason's UTF-8, and lets 0 and 1006 pass and all from 3000 up.
        if payload and not may_be_received(code):
            self._fail(CloseCode.PROTOCOL_ERROR, "not a close code")
            return
        transport = self._transport
        if transport is not None:
            self._send_close(transport, code, "")
            self.close_reason = payload[2:].decode()
            transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """RFC 6455, 7.1.7: say why, then take no more notice of the peer.

        TCP is closed in one direction only: to close it with input unread would reset the
        connection, and the peer might never see the reason.
        """
        transport, outgoing = self._transport, self._outgoing
        if transport is None or outgoing is None:
            return
        if not self.close_code:
            self._send_close(transport, code, reason)
        outgoing.discards_input = True
        transport.write_eof()

    def _send_close(self, transport: asyncio.Transport, code: int, reason: str) -> None:
        """What is queued and the close frame leave in one write; nothing follows it."""
        self.close_code, self.close_reason = code, reason
        self._message = self._decoder = None
        out = self._out or []
        frames = [*(out if isinstance(out, list) else [out]), close_frame(code, reason)]
        self._out = None
        self._writes.count(len(frames))
        self._close_timer = asyncio.get_running_loop().call_later(
            self._writes.limits.close_timeout_s, transport.abort
        )
        transport.write(b"".join(frames))
