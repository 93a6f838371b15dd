"""What can go wrong, in the domain's words. `web/problems.py` maps it to statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self


class HlfastError(Exception):
    """The common ancestor. `detail` is shown to the client: never a secret."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(HlfastError):
    """Not even readable: broken JSON, bad UTF-8."""


class Unauthenticated(HlfastError):
    """No token, or one that is not (or no longer) good.

    `close_reason` says in words that a program can tell apart what is wrong with a token; it is
    empty when there was none.
    """

    def __init__(self, detail: str, close_reason: str = "") -> None:
        super().__init__(detail)
        self.close_reason = close_reason

    @classmethod
    def invalid(cls) -> Self:
        """A token that was never good for this."""
        return cls("The token is not valid.", "token invalid")

    @classmethod
    def expired(cls) -> Self:
        """A token that was good."""
        return cls("The token has expired.", "token expired")

    @classmethod
    def revoked(cls) -> Self:
        """A token whose user was disabled, deleted, or changed their password since."""
        return cls("The token has been revoked.", "token revoked")


class Forbidden(HlfastError):
    """Seen, but not yours to change."""


class NotFound(HlfastError):
    """Not there, or not visible to you: nobody can tell which."""


class Conflict(HlfastError):
    """Contradicts what is there: a name taken, a limit reached."""


class TooLarge(HlfastError):
    """A body above its bound."""


class UnsupportedMedia(HlfastError):
    """A body of another kind than is read here; `accepted`: those that are."""

    def __init__(self, detail: str, accepted: str) -> None:
        super().__init__(detail)
        self.accepted = accepted


class TooSlow(HlfastError):
    """A body that did not arrive in time."""


class Invalid(HlfastError):
    """Readable but not acceptable. `errors`: items of `loc`, `msg`, `type`."""

    def __init__(self, detail: str, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.errors = list(errors)

    @classmethod
    def field(cls, *loc: str | int, msg: str, kind: str = "value_error") -> Invalid:
        """One field's error, `loc` from the outside in: `("body", "up_to")`."""
        return cls(msg, [{"loc": list(loc), "msg": msg, "type": kind}])


class TooMany(HlfastError):
    """Asked too often; `retry_after_s` is when to ask again."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(HlfastError):
    """Not now: a server that is needed does not answer, or a queue is full.

    `was_run`: whether what it was asked may have been done all the same.
    """

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.was_run = True
