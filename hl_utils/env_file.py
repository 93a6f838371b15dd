"""Run a command with what `.env` says: `python env_file.py FILE COMMAND…`, as build.sh does.

The file has another reader, docker compose. What both understand alike is taken; what would mean
two things, or is read by nobody, is refused by name. Of a value nothing is ever shown.
Needs nothing but Python's library.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
_NAME = re.compile(r"(?:export\s+)?([\w.-]+)")
# Behind the closing quote.
_REST = re.compile(r"[ \t]*(?:[ \t]#.*)?")
_QUOTE_IT = "write it in single quotes"


class Refused(Exception):
    """What stands in a line that nothing can be made of."""


def read(text: str) -> tuple[dict[str, str], list[str]]:
    """The variables, of two alike the later one, and what was refused: `line 3: NAME: why`."""
    found: dict[str, str] = {}
    refused: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        line = line.strip(" \t")  # noqa: PLW2901
        if not line or line.startswith("#"):
            continue
        assignment = _ASSIGNMENT.fullmatch(line)
        try:
            if assignment is None:
                raise Refused("it is not NAME=VALUE")
            found[assignment[1]] = _value(assignment[2].rstrip(" \t"))
        except Refused as why:
            name = _NAME.match(line)
            # What is no assignment may be a secret on a line of its own.
            named = f"{name[1]}: " if name and (assignment or "=" in line or ":" in line) else ""
            refused.append(f"line {number}: {named}{why}")
    return found, refused


def _value(text: str) -> str:
    if any(ord(character) < ord(" ") and character != "\t" for character in text):
        raise Refused("it holds a control character")
    if text[:1] in ("'", '"'):
        return _quoted(text)
    if text.startswith("#"):
        raise Refused(f"its value begins with #: {_QUOTE_IT}, or leave the value out")
    text = text.partition(" #")[0].rstrip()
    if "$" in text:
        raise Refused(f"a $ in it means something to compose: {_quoting(text)}")
    if "\t#" in text:
        raise Refused(f"a # behind a tab is no comment to compose: {_QUOTE_IT}")
    return text


def _quoted(text: str) -> str:
    quote = text[0]
    value, closing, rest = text[1:].partition(quote)
    if not closing:
        raise Refused("its quotes are not closed in the same line")
    if not _REST.fullmatch(rest):
        raise Refused("something stands behind its quotes")
    if quote == '"' and ("$" in value or "\\" in value):
        raise Refused(f"$ and \\ mean something to compose in double quotes: {_quoting(value)}")
    if quote == "'" and value.endswith("\\"):
        raise Refused("a \\ before the closing quote means something to compose")
    return value


def _quoting(value: str) -> str:
    return "use other characters, it has a quote, too" if "'" in value else _QUOTE_IT


def main(arguments: list[str]) -> int:
    """Become the command; the exit code if that cannot be. The environment goes before the file."""
    path, *command = arguments
    try:
        found, refused = read(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        found, refused = {}, [f"cannot be read: {type(error).__name__}"]
    for why in refused:
        print(f"build.sh: {Path(path).name}, {why}", file=sys.stderr)
    if refused:
        return 1
    os.execve(command[0], command, found | os.environ)  # noqa: S606 (to be nothing else any more)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
