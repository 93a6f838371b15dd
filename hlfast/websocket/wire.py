"""Frames as a server writes them (RFC 6455, 5), and the codes of their closing."""

from __future__ import annotations

import struct
from enum import IntEnum

CONTROL_PAYLOAD_BYTES_MAX = 125


class CloseCode(IntEnum):
    """Why a connection ended. RFC 6455, 7.4.1; from 4000 on they are the application's own."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005  # never on the wire: the peer's close frame had no code
    ABNORMAL = 1006  # never on the wire: there was no close frame
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    TOO_MANY_FRAMES = 4429


def _frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked frame, header and payload; made once however many will get it."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, size) + payload


# Without a payload.
PING = _frame(0x9, b"")


def text_frame(payload: bytes) -> bytes:
    """A text frame of what is UTF-8 already."""
    return _frame(0x1, payload)


def payload_of(frame: bytes) -> bytes:
    """What a whole, unmasked frame holds."""
    size = frame[1]
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def payloads_of(frames: bytes) -> list[bytes]:
    """What each of several whole, unmasked frames holds."""
    found, place = [], 0
    while place < len(frames):
        size, start = frames[place + 1], place + 2
        if size >= 126:
            octets = 2 if size == 126 else 8
            size, start = int.from_bytes(frames[start : start + octets], "big"), start + octets
        place = start + size
        found.append(frames[start:place])
    return found


def binary_frame(payload: bytes) -> bytes:
    """A whole binary frame with this payload."""
    return _frame(0x2, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with this payload."""
    return _frame(0xA, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame. NO_STATUS makes an empty one; a long reason is cut at a character."""
    if code == CloseCode.NO_STATUS:
        return _frame(0x8, b"")
    text = reason.encode()[: CONTROL_PAYLOAD_BYTES_MAX - 2].decode("utf-8", "ignore")
    return _frame(0x8, code.to_bytes(2, "big") + text.encode())


def may_be_received(code: int) -> bool:
    """Whether a close frame may carry this code: RFC 6455, 7.4, and IANA's registry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
