"""What a look found: a line for the operator, an object for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one subject: no text of it holds a secret."""

    code: str
    level: Level
    subject: str
    what: str
    why: str
    mend: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A thing that can be wrong. Programs know it by its code, which never changes.

    An error refuses or loses something in ordinary work; a warning does so once load or an
    accident comes.
    """

    code: str
    level: Level
    why: str
    mend: str

    def found(self, subject: str, what: str, mend: str = "") -> Finding:
        """A finding of this kind about a subject."""
        return Finding(self.code, self.level, subject, what, self.why, mend or self.mend)

    def unless(self, sound: bool, subject: str, what: str, mend: str = "") -> Finding | None:
        """A finding of this kind about a subject, or None if it is sound."""
        return None if sound else self.found(subject, what, mend)


# One for each check that was made; None: sound.
Answers: TypeAlias = Sequence[Finding | None]


UNREACHABLE = Kind(
    "unreachable",
    "error",
    "nothing that needs it works, and nothing of it was checked",
    "start it, or mend the URL, the password or the way to it",
)
UNSET = Kind(
    "unset",
    "error",
    "the service does not start without it",
    "set it, or start the embedded servers with `bash build.sh up`",
)
VERSION_OLD = Kind(
    "version-old", "error", "it lacks what the service asks of it", "upgrade the server"
)
READ_ONLY = Kind(
    "read-only",
    "error",
    "every write is refused",
    "name the primary, or promote this one",
)
CLOCK_SKEW = Kind(
    "clock-skew",
    "warning",
    "times disagree: a message seems to come from the future, a token to be expired",
    "run chrony or another NTP client on both machines",
)
DURABILITY_OFF = Kind(
    "durability-off",
    "error",
    "what was acknowledged is lost in a crash or a power cut",
    "set what is named to its safe value",
)
COMMON = (UNREACHABLE, UNSET, VERSION_OLD, READ_ONLY, CLOCK_SKEW, DURABILITY_OFF)

_SKEW_MAX_S = 1.0


def skew(subject: str, before_s: float, theirs_s: float, after_s: float) -> Finding | None:
    """The server's clock against ours, read just before and just after; seconds since 1970."""
    ahead_s = theirs_s - after_s if theirs_s > after_s else min(theirs_s - before_s, 0)
    side = "ahead of" if ahead_s > 0 else "behind"
    return CLOCK_SKEW.unless(
        abs(ahead_s) <= _SKEW_MAX_S,
        subject,
        f"its clock is {abs(ahead_s):.1f} s {side} this machine's",
    )


def version_from(text: str) -> tuple[int, ...]:
    """`10.11.6-MariaDB-0+deb12u1` as numbers: 10, 11, 6."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdecimal())


def old(subject: str, product: str, version: str, oldest: tuple[int, ...]) -> Finding | None:
    """A server of a version below the oldest that will do."""
    needed = ".".join(map(str, oldest))
    return VERSION_OLD.unless(
        version_from(version) >= oldest, subject, f"{product} {version}, older than {needed}"
    )
