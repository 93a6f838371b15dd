"""What `methods.md` says of each method."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("methods.md")
_SECTION = re.compile(
    r"^## (?P<name>[a-z0-9-]+): (?P<title>.+)\n\n(?P<what>(?:.+\n)+)\nWhen not: "
    r"(?P<when_not>(?:.+\n)+)\n```(?P<language>\w+)\n(?P<snippet>(?:.*\n)*?.*)\n```$",
    re.MULTILINE,
)
_PYTHON = "python-"
_HEADING = re.compile(r"^## ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Method:
    """What the report says of a method, as texts in Markdown."""

    name: str
    title: str
    what: str
    when_not: str
    language: str
    snippet: str


@cache
def methods() -> Mapping[str, Method]:
    """Every method of methods.md, by name. Raises ValueError for a section that is not whole."""
    text = _FILE.read_text(encoding="utf-8")
    found = {one["name"]: _method(one) for one in _SECTION.finditer(text)}
    if len(found) != len(_HEADING.findall(text)):
        raise ValueError(f"{_FILE.name}: a section lacks something, or its name is there twice")
    return found


def _method(found: re.Match[str]) -> Method:
    texts = {name: " ".join(found[name].split()) for name in ("title", "what", "when_not")}
    return Method(
        found["name"],
        texts["title"],
        texts["what"],
        texts["when_not"],
        found["language"],
        found["snippet"],
    )


def method(name: str) -> Method | None:
    """The method of that name, if there is one. Each version of Python is an `other-python`."""
    known = methods()
    if name.startswith(_PYTHON):
        version = name.removeprefix(_PYTHON)
        return replace(known["other-python"], name=name, title=f"Python {version}")
    return known.get(name)


def title(names: tuple[str, ...]) -> str:
    """The title of one method, or of several that came at once."""
    found = [(name, method(name)) for name in names]
    return " + ".join(known.title if known else name for name, known in found)
