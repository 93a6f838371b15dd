"""Bytes from values and values from bytes: the only door to orjson."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from hlfast.errors import Malformed

# Times come from the database in UTC; the contract ends them in Z.
_OPTIONS = orjson.OPT_UTC_Z

# An index entry of PostgreSQL holds 2,704 bytes at most and some single
# characters fold to 18, so keys are compared by their first characters only.
SEARCH_KEY_CHARACTERS_MAX = 128
_LAST_CODE_POINT = 0x10FFFF


def encode(value: Any) -> bytes:
    """JSON in UTF-8; datetimes in UTC as RFC 3339 with `Z`."""
    return orjson.dumps(value, option=_OPTIONS)


def compact(body: bytes) -> bytes:
    """A copy to keep: what `encode` returns holds 4 KiB of memory for 150 bytes."""
    return bytes(memoryview(body))


def encoded(body: bytes) -> Any:
    """What is JSON already, to be part of what `encode` is given."""
    return orjson.Fragment(body)


def page_of(bodies: Sequence[bytes], cursor: int | None) -> bytes:
    """A Listing of items that are JSON already."""
    return listing(b"[%b]" % b",".join(bodies), cursor)


def listing(items: bytes, cursor: int | str | None) -> bytes:
    """A Listing of a JSON list."""
    return b'{"items":%b,"next":%b}' % (items, encode(cursor))


def decode(data: bytes) -> Any:
    """The value of a JSON text.

    Raises Malformed for what is no JSON in UTF-8, lone surrogates included.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON in UTF-8: {error}") from None


def rows(fields: Sequence[str], found: Iterable[Iterable[Any]]) -> list[dict[str, Any]]:
    """One dict a row; columns beyond `fields` are not shown."""
    return [dict(zip(fields, row, strict=False)) for row in found]


def search_key(text: str) -> str:
    """What names are compared by: NFKC and case folded, the same in every database and locale."""
    if text.isascii():
        return text.lower()[:SEARCH_KEY_CHARACTERS_MAX]
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)[:SEARCH_KEY_CHARACTERS_MAX]


def prefix_end(prefix: str) -> str:
    """The smallest key above every key that starts with `prefix`, by code points.

    Where there is none, a text longer than any key and of the last code point.
    """
    while prefix:
        code = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if code <= _LAST_CODE_POINT:
            # Surrogates are no characters: UTF-8 skips them.
            return prefix + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
    return chr(_LAST_CODE_POINT) * (SEARCH_KEY_CHARACTERS_MAX + 1)
