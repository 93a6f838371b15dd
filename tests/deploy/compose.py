"""Docker compose, where it is there."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def program() -> list[str]:
    """The command: its plugin or its program; empty without either."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return command
    return []
