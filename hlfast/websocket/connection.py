"""What RFC 6455 demands of an application: whole messages, the close handshake, slow readers.

picows parses the handshake and single frames, checks opcodes, masks, lengths and most of a close
frame, and notices a peer that went silent. Fragments, UTF-8, reserved bits, the end of a
connection and what is written when are decided here.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from typing import cast

import picows
from picows import WSMsgType

from hlfast.websocket.outflow import Outflow, Outgoing
from hlfast.websocket.wire import (
    PING,
    CloseCode,
    close_frame,
    may_be_received,
    pong_frame,
    text_frame,
)
from hlfast.websocket.write_queue import WriteQueue

# Looked up once: picows makes an enum member of every C value, and these are compared by identity.
_CONTINUATION = WSMsgType.CONTINUATION
_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_PING = WSMsgType.PING
_PONG = WSMsgType.PONG
_CLOSE = WSMsgType.CLOSE

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


class Connection(Outflow):
    """One websocket. Subclass it with `__slots__` and the `on_...` methods that you need.

    Everything is called in the event loop's thread. After `close` or a failure the peer's
    messages are no longer delivered and `queue` does nothing; `on_closed` comes once, last.
    """

    __slots__ = (
        "_decoder",
        "_message",
        "_silent",
        "_window_frames",
        "_window_start",
    )

    def __init__(self, writes: WriteQueue) -> None:
        super().__init__(writes)
        self._message: bytearray | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        # Looks at the peer since it was heard.
        self._silent = 0
        self._window_start = 0.0
        self._window_frames = 0

    # What the user of a connection overrides

    def on_text(self, text: str) -> None:
        """Take one whole text message."""

    def on_binary(self, data: bytes) -> None:
        """Take one whole binary message."""

    def send_text(self, payload: bytes) -> None:
        """Queue one text message, UTF-8 already."""
        self.queue(text_frame(payload))

    # What picows calls

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        # It keeps the whole handshake for as long as the connection lives: the token, and ~3 KB.
        del transport.request.headers, transport.request.path, transport.response.headers
        self._window_start = time.monotonic()
        self._writes.pings.add(self)
        # What picows takes for its transport: see listener.py.
        self.begin(cast("Outgoing", transport.underlying_transport))

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        self._silent = 0
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
        self._message = self._decoder = None
        self.lost()

    def fail_soon(self, code: int, reason: str) -> None:
        """picows wants to close: not before the frame that it is yet to deliver was answered."""
        asyncio.get_running_loop().call_soon(self._fail, code, reason)

    def look(self, ping_at: int, end_at: int) -> bool:
        """See pings.Peer."""
        if self.close_code:
            return False
        self._silent += 1
        if self._silent == ping_at:
            self.queue(PING)
        elif self._silent >= end_at:
            self._fail(CloseCode.GOING_AWAY, "no answer to a ping")
        return True

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
        """Text is decoded as it comes, to fail at once; what is held is bytes, which are bounded.

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
        self._message = self._decoder = None
        super()._send_close(transport, code, reason)

    def _last_words(self, code: int, reason: str) -> bytes:
        return close_frame(code, reason)
