"""Forms: the two content types that browsers and OAuth2 clients send them in."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Scope

from hlfast import errors
from hlfast.web.fields import pairs

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
ACCEPTED = f"{URLENCODED}, {MULTIPART}"
_PARTS_MAX = 32
# It warns of what clients send, which they get as an error.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


def form_fields(scope: Scope, data: bytes, known: Container[str]) -> dict[str, str]:
    """A form's fields, without those that are not `known`. Without a content type it is urlencoded.

    Raises errors.UnsupportedMedia for another content type, Malformed for what is no form or no
    UTF-8, Invalid for a repeated field and for a file.
    """
    kind, boundary = _content_type(scope)
    if kind in ("", URLENCODED):
        return pairs(data, "body", known)
    if kind != MULTIPART:
        raise errors.UnsupportedMedia(f"A form is sent as {URLENCODED} or {MULTIPART}.", ACCEPTED)
    if not boundary:
        raise errors.Malformed("The content type names no boundary.")
    parts = _Parts(known)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(data)
        parser.finalize()
    except FormParserError:
        raise errors.Malformed("The body is no multipart form.") from None
    if not parts.is_complete:
        raise errors.Malformed("The body is no complete multipart form.")
    return parts.fields


def _content_type(scope: Scope) -> tuple[str, bytes]:
    """The media type in lower case, empty if there is none, and the boundary."""
    value = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    kind, options = parse_options_header(value)
    return kind.decode("latin-1").strip().lower(), options.get(b"boundary", b"")


class _Parts:
    """Collects the fields of a multipart form from the parser's callbacks."""

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self.fields: dict[str, str] = {}
        self.is_complete = False
        self._count = 0

    def callbacks(self) -> Any:
        """The functions that MultipartParser calls for each part of the form."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > _PARTS_MAX:
            raise errors.Malformed(f"There are more than {_PARTS_MAX} fields.")
        self._name = self._value = self._disposition = self._text = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _end(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise errors.Malformed("A part of the form has no name.")
        try:
            name, value = options[b"name"].decode(), self._text.decode()
        except UnicodeDecodeError:
            raise errors.Malformed("The fields are not UTF-8.") from None
        if name not in self._known:
            return
        if b"filename" in options:
            raise errors.Invalid.field("body", name, msg="A file is no text")
        if name in self.fields:
            raise errors.Invalid.field("body", name, msg="Given twice")
        self.fields[name] = value

    def _complete(self) -> None:
        self.is_complete = True
