"""Who runs the servers: whoever starts them, but never root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Account:
    """The user that the servers run as; `switched` where that is not the caller."""

    uid: int
    gid: int
    switched: bool

    @property
    def name(self) -> str:
        """The user's name; the number of one that has none, as in some containers."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def spawn(self) -> dict[str, Any]:
        """Arguments with which subprocess starts a program as this user."""
        if not self.switched:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def own(self, path: Path) -> None:
        """Give a file or directory of ours to this user."""
        if self.switched:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether this user may run the program, or enter the directory, and all those above it."""
        return self._may("-x", path) if self.switched else os.access(path, os.X_OK)

    def reads(self, path: Path) -> bool:
        """Whether this user may read the file, and enter all directories above it."""
        return self._may("-r", path) if self.switched else os.access(path, os.R_OK)

    def _may(self, what: str, path: Path) -> bool:
        test = ["/bin/sh", "-c", f'test {what} "$0"', str(path)]
        return subprocess.run(test, cwd="/", check=False, **self.spawn).returncode == 0


def for_servers(data: Path) -> Account:
    """The owner of `data` if there is any yet, else `postgres` or `nobody` where root starts."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switched=False)
    if data.is_dir() and (found := data.stat()).st_uid:
        return Account(found.st_uid, found.st_gid, switched=True)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid, switched=True)
