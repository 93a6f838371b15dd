"""The close handshake: Autobahn's section 7."""

from __future__ import annotations

import pytest

from tests.websocket.echo import Server, exchange
from tests.websocket.raw_client import (
    CLOSE,
    HELLO,
    HELLO_BACK,
    client_frame,
    close,
    more,
    ping,
    text,
)

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000]


@pytest.mark.parametrize("code", [*CODES, 4429, 4999])
def test_close_is_answered_alike(echo: Server, code: int) -> None:
    assert exchange(echo, close(code, "été".encode())) == [(CLOSE, code)]


def test_close_without_a_code(echo: Server) -> None:
    assert exchange(echo, close(None)) == [(CLOSE, None)]


def test_close_with_the_longest_reason(echo: Server) -> None:
    assert exchange(echo, close(1000, b"*" * 123)) == [(CLOSE, 1000)]


BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", BAD_CODES)
def test_close_with_a_bad_code(echo: Server, code: int) -> None:
    assert exchange(echo, HELLO, close(code)) == [HELLO_BACK, (CLOSE, 1002)]
    assert exchange(echo, close(code, b"reason")) == [(CLOSE, 1002)]


def test_close_with_half_a_code(echo: Server) -> None:
    assert exchange(echo, client_frame(CLOSE, b"\x03")) == [(CLOSE, 1002)]


def test_close_with_a_bad_reason(echo: Server) -> None:
    assert exchange(echo, close(1000, b"\xce\xba\xe1")) == [(CLOSE, 1007)]


@pytest.mark.parametrize(
    "after",
    [HELLO, ping(), close(), close(4000), client_frame(3), b"\0" * 99],
    # Not their bytes: each process masks them with others.
    ids=["text", "ping", "close", "close again", "reserved", "zeros"],
)
def test_nothing_after_a_close(echo: Server, after: bytes) -> None:
    assert exchange(echo, HELLO, close(), after) == [HELLO_BACK, (CLOSE, 1000)]


def test_close_within_a_message(echo: Server) -> None:
    assert exchange(echo, text("x", fin=False), close(), more("y", fin=True)) == [(CLOSE, 1000)]
