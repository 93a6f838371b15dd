"""The directory of the servers' data: ours alone, and one `up` at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hl_utils.servers.account import Account, for_servers
from hlfast.settings import SECRET_BYTES_MIN

MARKER = ".hlfast"
MARKER_TEXT = "Data of hlfast, format 1. Wipe it with: bash build.sh clean\n"
# macOS's bound on the path of a unix socket; Linux takes 107 bytes. The longest
# name in the directory is PostgreSQL's.
SOCKET_PATH_BYTES_MAX = 103
LONGEST_SOCKET = "/.s.PGSQL.5432"
PASSWORD_BYTES = 18


class StackError(Exception):
    """Why the stack cannot start, or go on: one line for the operator."""


class InUse(StackError):
    """Another `up`, or whatever else needs the home for itself, has it."""


class Home:
    """What lies where in HLFAST_HOME. Made by `locked` only, which has checked the directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.logs = path / "logs"
        self.programs = path / "programs"
        self.lock = path / "lock"
        self._passwords_file = path / "passwords.json"
        self.account: Account = for_servers(self.data)

    def furnish(self) -> None:
        """Make the directories: the servers' user gets into its own and sees no other.

        Raises StackError if that user cannot get here, whatever is opened below.
        """
        # The home stays root's: what the servers' user could rename there, root's tools would
        # read and write.
        if self.account.switched:
            os.chown(self.path, 0, self.account.gid)
        self.path.chmod(0o710 if self.account.switched else 0o700)
        for directory in (self.logs, self.programs):
            directory.mkdir(exist_ok=True)
        self.programs.chmod(0o755)
        if not self.account.reaches(self.path):
            raise StackError(
                f"the user {self.account.name}, who runs the servers, cannot get to {self.path}: "
                "set HLFAST_HOME to a directory below ones that it may enter"
            )
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.account.own(self.data)
        self._make_sockets()

    @property
    def sockets(self) -> Path:
        """The directory of the unix sockets; below /tmp if the home's own path is too long."""
        near = self.path / "run"
        if len(os.fsencode(f"{near}{LONGEST_SOCKET}")) <= SOCKET_PATH_BYTES_MAX and re.fullmatch(
            r"[\w./-]+", str(near), re.ASCII
        ):
            return near
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"hlfast-{os.geteuid()}-{name}"  # noqa: S108 - checked below

    def _make_sockets(self) -> None:
        with suppress(FileExistsError):
            self.sockets.mkdir(mode=0o700)
        found = self.sockets.lstat()
        owners = (self.account.uid, os.geteuid())
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise StackError(f"{self.sockets} is not a private directory of ours: remove it")
        self.account.own(self.sockets)

    def passwords(self) -> dict[str, str]:
        """The random passwords made so far. Raises StackError if their file is damaged."""
        try:
            return dict(json.loads(self._passwords_file.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise StackError(f"{self._passwords_file} is damaged") from None

    def password(self, name: str) -> str:
        """The random password of that name, made when first asked for, in a 0600 file."""
        passwords = self.passwords()
        if name not in passwords:
            passwords[name] = secrets.token_urlsafe(PASSWORD_BYTES)
            write_private(self._passwords_file, json.dumps(passwords))
        return passwords[name]

    def secret(self, path: Path) -> str:
        """The secret that signs tokens, made when first asked for, in a 0600 file."""
        if not path.exists():
            write_private(path, secrets.token_urlsafe(SECRET_BYTES_MIN))
        return path.read_text().strip()

    def wipe(self) -> None:
        """Delete everything; what makes the directory ours goes last."""
        shutil.rmtree(self.sockets, ignore_errors=True)
        for entry in self.path.iterdir():
            if entry.name in (MARKER, self.lock.name):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.lock.unlink()
        (self.path / MARKER).unlink()
        # It may be a mount point, which stays.
        with suppress(OSError):
            self.path.rmdir()


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, and after a crash too, by one that nobody else can read."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    rename(new, path)


def rename(old: Path, new: Path) -> None:
    """Give a file or directory its final name, which a loss of power does not take back."""
    old.replace(new)
    directory = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def locked(path: Path, *, create: bool) -> Iterator[Home]:
    """The home, for as long as the block runs ours alone.

    Raises StackError if the directory is not ours (it has not our marker), belongs to another
    user, cannot be written, or is in use by another `up` or `clean`.
    """
    path = path.expanduser().resolve()
    made: list[Path] = []
    try:
        if create:
            _make(path, made)
        _check(path, create)
        lock = _lock(path / "lock")
    except PermissionError:
        raise StackError(
            f"no permission to write to {path}: set HLFAST_HOME to a directory of yours"
        ) from None
    except (FileExistsError, NotADirectoryError):
        raise StackError(f"{path} is not a directory: set HLFAST_HOME to another one") from None
    finally:
        # Of what is refused nothing is left behind; what holds something now is not taken away.
        for directory in reversed(made):
            with suppress(OSError):
                directory.rmdir()
    try:
        yield Home(path)
    finally:
        os.close(lock)


def _make(path: Path, made: list[Path]) -> None:
    """Make the directory and what is missing above it, adding each one to `made`.

    Raises StackError if the servers' user could not get there, before anything lies in it.
    """
    account = for_servers(path / "data")
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        made.append(directory)
        if account.switched and directory != path:
            directory.chmod(0o755)
    if not path.is_dir():
        raise NotADirectoryError
    if account.switched and not account.reaches(path.parent):
        raise StackError(
            f"the user {account.name}, who runs the servers, cannot get to {path}: "
            "set HLFAST_HOME to a directory below ones that it may enter"
        )


def _check(path: Path, create: bool) -> None:
    if not (path / MARKER).is_file():
        if not create or any(path.iterdir()):
            raise StackError(f"{path} does not hold data of hlfast: set HLFAST_HOME to another one")
        (path / MARKER).write_text(MARKER_TEXT)
    if path.stat().st_uid != os.geteuid():
        raise StackError(f"{path} belongs to another user: set HLFAST_HOME to one of yours")
    if (path / MARKER).read_bytes() != MARKER_TEXT.encode():
        raise StackError(f"{path} has the data of another version of hlfast")


def _lock(path: Path) -> int:
    """A file descriptor that holds the lock; the kernel frees it however we end."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 20).decode() or "unknown"
            os.close(lock)
            raise InUse(f"hlfast already runs on {path.parent} (pid {holder})") from None
        # `clean` may have deleted the file between our opening and locking it.
        if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return lock
        os.close(lock)
