"""The process's environment: everything that hlfast reads of it but the settings themselves."""

from __future__ import annotations

import os
from pathlib import Path


def default_home() -> Path:
    """The embedded servers' directory: root's is one that an unprivileged user can enter."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/hlfast")
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data or Path.home() / ".local" / "share") / "hlfast"


def variables() -> list[str]:
    """The names of all variables of the environment."""
    return list(os.environ)


def forget(*names: str) -> None:
    """Take variables out of the environment, which a library would read otherwise."""
    for name in names:
        os.environ.pop(name, None)
