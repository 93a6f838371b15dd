"""MySQL's statements as text with their arguments in it, because aiomysql sends nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from pymysql.converters import escape_string

_PARAMETER = re.compile(r"\$([0-9]+)")


class Statement:
    """A named statement, into which arguments are written.

    `$1` is replaced by the first argument, escaped, wherever it stands; a list by its items with
    commas between them, and an empty one by NULL, which `IN (…)` finds nowhere.

    Where `$0` stands, the statement is of several: its arguments are lists of one length, it is
    written once for each of their items, with UNION ALL between, and `$0` is the item's number
    from 1. So several are looked for at once in a database that has no LATERAL.
    """

    def __init__(self, text: str) -> None:
        # Texts and, between them, the numbers of arguments.
        self._texts = _PARAMETER.split(text)[::2]
        self._numbers = [int(number) for number in _PARAMETER.findall(text)]
        self._is_of_several = 0 in self._numbers
        self.parameters = max(self._numbers, default=0)

    def with_arguments(self, args: Sequence[Any]) -> str:
        """The whole text. Raises ValueError for a wrong number or type of arguments."""
        if len(args) != self.parameters:
            raise ValueError(f"{len(args)} arguments instead of {self.parameters}")
        if not self._is_of_several:
            return self._written(0, args)
        items = zip(*args, strict=True)
        return " UNION ALL ".join(self._written(*item) for item in enumerate(items, 1))

    def _written(self, item: int, args: Sequence[Any]) -> str:
        literals = [str(item), *map(_literal, args)]
        parts = [self._texts[0]]
        for number, text in zip(self._numbers, self._texts[1:], strict=True):
            parts += literals[number], text
        return "".join(parts)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_literal, value)) if value else "NULL"
    # The type itself: what derives from it may be written otherwise.
    write = _LITERALS.get(type(value))
    if write is None:
        raise ValueError(f"a {type(value).__name__} is no argument of a statement")
    return write(value)


def text_literal(text: str) -> str:
    """A string as a literal of SQL, in quotes."""
    # Sessions have backslash escapes (see sql_mode) and utf8mb4, in which no character hides a
    # quote or a backslash.
    return f"'{escape_string(text)}'"


_LITERALS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    bool: lambda value: "TRUE" if value else "FALSE",
    int: str,
    float: repr,
    str: text_literal,
    date: lambda value: f"'{value.isoformat()}'",
}
