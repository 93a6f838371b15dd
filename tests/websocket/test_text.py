"""UTF-8 in messages: Autobahn's section 6."""

from __future__ import annotations

import pytest

from tests.websocket.echo import Server, exchange
from tests.websocket.raw_client import (
    BINARY,
    CLOSE,
    HELLO,
    HELLO_BACK,
    PONG,
    TEXT,
    client_frame,
    close,
    more,
    ping,
    text,
)

VALID = [
    "κόσμε",
    "\0",
    "\x7f\x80\u07ff\u0800",
    "\ud7ff\ue000\ufffd\ufffe\uffff",
    "\U00010000\U0010fffe\U0010ffff",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "שלום 🙂 世界",
]
INVALID = """
80 bf c0 fe ff c080 c1bf c3 e28e e08080 e09fbf eda080 edafbf edb080 edbfbf f0808080 f08fbfbf
f4908080 f7bfbfbf f888808080 fc8480808080 cebae1bdb9cf83cebcceb5eda080656469
"""


@pytest.mark.parametrize("valid", VALID)
def test_valid_utf8_cut_anywhere(echo: Server, valid: str) -> None:
    octets = valid.encode()
    for cut in range(len(octets) + 1):
        sent = [text(octets[:cut], fin=False), ping(), more(octets[cut:], fin=True)]
        assert exchange(echo, *sent, close()) == [(PONG, b""), (TEXT, octets), (CLOSE, 1000)]
    sent = [text("", fin=False), *(more(octets[i : i + 1]) for i in range(len(octets)))]
    assert exchange(echo, *sent, more("", fin=True), close()) == [(TEXT, octets), (CLOSE, 1000)]


@pytest.mark.parametrize("octets", INVALID.split())
def test_invalid_utf8(echo: Server, octets: str) -> None:
    invalid = bytes.fromhex(octets)
    answers = [HELLO_BACK, (CLOSE, 1007)]
    assert exchange(echo, HELLO, text(b"ok " + invalid), HELLO) == answers
    one_by_one = [text(b"ok ", fin=False), *(more(bytes((octet,))) for octet in invalid)]
    assert exchange(echo, HELLO, *one_by_one, more("", fin=True), HELLO) == answers
    # In a binary message it is nobody's business.
    binary = [client_frame(BINARY, b"", fin=False), more(invalid, fin=True)]
    assert exchange(echo, *binary, close()) == [(BINARY, invalid), (CLOSE, 1000)]


@pytest.mark.parametrize("invalid", [b"\xff", b"\xf4\x90", b"\xed\xa0"])
def test_invalid_utf8_fails_at_once(echo: Server, invalid: bytes) -> None:
    """The message never ends, the connection does."""
    assert exchange(echo, text("κόσμε", fin=False), more(invalid)) == [(CLOSE, 1007)]
    octets = [more(bytes((octet,))) for octet in invalid]
    assert exchange(echo, text("κόσμε", fin=False), *octets) == [(CLOSE, 1007)]


def test_text_that_ends_within_a_character(echo: Server) -> None:
    assert exchange(echo, text(b"\xce", fin=False), more("", fin=True)) == [(CLOSE, 1007)]
