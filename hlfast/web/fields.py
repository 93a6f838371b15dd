"""Field types and models that several features share, and how their input is decoded."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from datetime import date
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from hlfast import errors
from hlfast.ids import ID_MAX
from hlfast.text import is_visible, nfc

_DECIMAL = re.compile(r"[0-9]{1,16}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# PostgreSQL's text has no NUL.
NO_NUL = r"^[^\x00]*$"
_QUERY_FIELDS_MAX = 32
# More than any model has.
_FIELDS_MAX = 64

T = TypeVar("T")
C = TypeVar("C")


def said(what: str, example: Any) -> Any:
    """What the documentation says of a field, and a lifelike value of it."""
    return Field(description=what, examples=[example])


def example(fields: dict[str, Any]) -> ConfigDict:
    """What the documentation offers to send; without it, text that fits a pattern at random."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """What a JSON body holds: exact types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Query(BaseModel):
    """What a query string holds: text, and numbers written in plain decimal; nothing unknown."""

    model_config = ConfigDict(extra="forbid")


class Form(BaseModel):
    """What a form holds: the same, and what somebody else's standard has in it besides."""

    model_config = ConfigDict(extra="ignore")


class NoQuery(Query):
    """The query of an endpoint that takes no parameter at all."""


class Listing(BaseModel, Generic[T, C]):
    """One page. `next` is the cursor of the following one, null at the end."""

    items: Annotated[list[T], Field(description="What is on this page, in its order.")]
    next: Annotated[
        C | None,
        Field(description="The cursor of the following page; null when nothing follows."),
    ]


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            raise PydanticCustomError("int_parsing", "Input should be a whole number")
        return int(value)
    return value


def _calendar_date(value: Any) -> Any:
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            raise PydanticCustomError("date_parsing", "Input should be a date as YYYY-MM-DD")
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise PydanticCustomError("date_parsing", "There is no such day") from None
    return value


def _typed(value: Any) -> Any:
    # ASCII is in NFC.
    if not isinstance(value, str) or value.isascii():
        return value
    try:
        return nfc(value)
    except ValueError as error:
        raise PydanticCustomError("marks", "There are {why}", {"why": str(error)}) from None


def _visible(value: Any) -> Any:
    # Most texts are ASCII and begin with something to see.
    if isinstance(value, str) and value.isascii() and "!" <= value[:1] <= "~":
        return value
    value = _typed(value)
    # An empty one gets the error that it is too short.
    if isinstance(value, str) and value and not is_visible(value):
        raise PydanticCustomError("invisible", "There is nothing to see in it")
    return value


def _term(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.strip()
    return value if value.isascii() else _typed(value)


def _name(value: Any) -> Any:
    return _visible(value.strip()) if isinstance(value, str) else value


def text(minimum: int, maximum: int) -> Any:
    """A string's constraints: its length in code points, and no NUL."""
    return Field(min_length=minimum, max_length=maximum, pattern=NO_NUL)


Decimal = BeforeValidator(_decimal)
# White space away of terms and names, then NFC, then it is measured. One function for each: every
# further one costs each request.
Typed = BeforeValidator(_typed)
Visible = BeforeValidator(_visible)
Term = BeforeValidator(_term)
VisibleName = BeforeValidator(_name)
CalendarDate = Annotated[date, BeforeValidator(_calendar_date)]
# The bounds come first: they belong to the number, and only so does the documentation have them.
Limit = Annotated[int, Field(ge=1, le=100), Decimal, said("The most that a page may hold.", 50)]
Before = Annotated[
    int, Field(ge=1, le=ID_MAX), Decimal, said("`next` of the page before: ids below it.", 512)
]
After = Annotated[
    int, Field(ge=0, le=ID_MAX), Decimal, said("`next` of the page before: ids above it.", 12)
]
Content = Annotated[
    str, text(1, 4096), Visible, said("What is said, in code points.", "The sourdough lives! 🍞")
]
OptionalClientId = Annotated[
    Annotated[str, text(1, 64)] | None,
    said("Chosen by the client: the same again is the same thing, not one more.", "8f14e45f"),
]


class PageAfter(Query):
    """Paging upwards: ids above `after`."""

    after: After = 0
    limit: Limit = 20


class PageBefore(Query):
    """Paging downwards: ids below `before`."""

    before: Before = ID_MAX
    limit: Limit = 20


def first(found: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """The page, and whether anything follows: of what was found with a limit of one more."""
    return (found[:limit], True) if len(found) > limit else (found, False)


def page(items: Sequence[Any], cursor: int | str | None) -> dict[str, Any]:
    """A Listing: `cursor` leads on, None where nothing follows."""
    return {"items": items, "next": cursor}


def pairs(data: bytes, where: str, known: Container[str] | None = None) -> dict[str, str]:
    """The fields of a query string or form, percent-encoded or not (curl encodes nothing).

    Where `known` is given, others are left out. Raises errors.Malformed for bad UTF-8 or too many
    fields, errors.Invalid for a repeated one.
    """
    try:
        found = parse_qsl(
            data.decode(), keep_blank_values=True, errors="strict", max_num_fields=_QUERY_FIELDS_MAX
        )
    except UnicodeDecodeError:
        raise errors.Malformed("The fields are not UTF-8.") from None
    except ValueError:
        raise errors.Malformed(f"There are more than {_QUERY_FIELDS_MAX} fields.") from None
    fields: dict[str, str] = {}
    for name, value in found:
        if known is not None and name not in known:
            continue
        if name in fields:
            raise errors.Invalid.field(where, name, msg="Given twice")
        fields[name] = value
    return fields


def validate(model: type[BaseModel], value: Any, where: str) -> Any:
    """The model's instance. Raises errors.Invalid, which never repeats the input."""
    if isinstance(value, dict) and len(value) > _FIELDS_MAX:
        # Too many to be known: some of them stand for all, or thousands of errors would be made.
        value = dict(islice(value.items(), _FIELDS_MAX))
    try:
        return model.__pydantic_validator__.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        for item in found:
            item["loc"] = (where, *item["loc"])
        raise errors.Invalid(
            "The input is not acceptable.", [dict(item) for item in found]
        ) from None
