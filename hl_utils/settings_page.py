"""Write hlfast/SETTINGS.md, which lists every setting as hlfast.settings declares it.

Run it after each change of a setting: `python -m hl_utils.settings_page`.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from hlfast.settings import Settings, Tuning

PAGE = Path(__file__).resolve().parents[1] / "hlfast" / "SETTINGS.md"
# A home is one of root's or one of the user's: its default is no constant.
HOME = "HLFAST_HOME"

_BEGINNING = """\
# Settings

<!-- Made by `python -m hl_utils.settings_page` from hlfast/settings/: change it there. -->

**Which of these do I need?** None: `bash build.sh up` runs without any. On servers of your own, set
`DATABASE_URL`, `REDIS_URL` and `HLFAST_SECRET`; the rest are bounds whose defaults are sound.

Every setting is an environment variable. `build.sh` also reads the file `.env`; the environment
goes before it. Docker compose reads `.env`, too: write a value with a `$`, or one that begins with
`#`, in single quotes. `build.sh` refuses, by name and line, what the two would not read alike.

Times are seconds. A mistyped name is reported when a process starts, and is an
error of [check](../hl_utils/check/README.md).
"""
_HOME_NOTE = """
`HLFAST_HOME` is `/var/lib/hlfast` when root starts it, because the embedded servers then run as
another user, and `~/.local/share/hlfast` (or below `$XDG_DATA_HOME`) for everybody else. That user
(`postgres` if there is one, else `nobody`) also runs the API and the websocket server. The home
gets a copy of whatever Python, packages and code that user could not read. Root's `~/.pgpass` is
not read. Ports below 1024 are root's alone: put HAProxy before the service.
"""


def groups() -> Iterator[tuple[type[BaseModel], dict[str, FieldInfo]]]:
    """Each group of settings in the page's order, with its fields by their variables."""
    for group in reversed(Settings.__bases__):
        if issubclass(group, BaseModel) and not issubclass(group, BaseSettings):
            yield group, {_variable(*item): item[1] for item in group.model_fields.items()}
    yield (
        Tuning,
        {f"HLFAST_TUNING__{name.upper()}": field for name, field in Tuning.model_fields.items()},
    )


def page() -> str:
    """The whole page in Markdown."""
    lines = [_BEGINNING]
    for group, fields in groups():
        lines += [f"## {_title(group)}", "", getdoc(group) or "", ""]
        lines += ["| variable | default | what it is |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {_default(name, field)} | {field.description} |"
            for name, field in fields.items()
        ]
        if HOME in fields:
            lines.append(_HOME_NOTE)
        else:
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _variable(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return f"HLFAST_{name.upper()}"


def _default(name: str, field: FieldInfo) -> str:
    if name == HOME:
        return "per user, see below"
    return "" if field.default == "" else f"`{field.default}`"


def _title(group: type[BaseModel]) -> str:
    """The title of a group: `EventLog` becomes `Event log`."""
    words = "".join(f" {one.lower()}" if one.isupper() else one for one in group.__name__)
    return words.strip().capitalize()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Written: {PAGE}")
