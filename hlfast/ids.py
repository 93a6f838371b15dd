"""Ids: their ranges, and how one is read from text."""

from __future__ import annotations

from hlfast import errors

ID_MAX = 2**53 - 1
USER_ID_MAX = 2**31 - 1
_ID_DIGITS_MAX = 16


def parse_id(text: str, maximum: int) -> int:
    """An id from a path. Raises errors.NotFound for what can be no id."""
    # Cheaper than an expression. More digits could take long to read.
    if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) <= _ID_DIGITS_MAX:
        number = int(text)
        if number <= maximum:
            return number
    raise errors.NotFound("There is nothing under this id.")
