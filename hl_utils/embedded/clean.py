"""Wiping the embedded servers' data."""

from __future__ import annotations

import asyncio
import sys

from hl_utils.embedded.console import FAILED, reported, say
from hl_utils.embedded.processes import sweep
from hl_utils.servers.home import locked
from hlfast.settings import Settings


def clean(settings: Settings, *, yes: bool = False) -> int:
    """Delete the embedded servers' data; the exit code.

    Asks first on a terminal, unless `yes`. Refuses a directory that is not ours, and one in use.
    """
    return reported(lambda: _clean(settings, yes))


def _clean(settings: Settings, yes: bool) -> int:
    if not settings.home.expanduser().exists():
        say(f"There is nothing to wipe at {settings.home}.")
        return 0
    with locked(settings.home, create=False) as home:
        if not yes and sys.stdin.isatty():
            answer = input(f"Delete the databases and everything else in {home.path}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                say("Nothing was deleted.")
                return FAILED
        asyncio.run(sweep(home))
        home.wipe()
    say(f"{home.path} is wiped.")
    return 0
