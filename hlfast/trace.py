"""The caller's trace (W3C Trace Context 1): taken up, in every log line, and handed on.

Nothing is done for a request that has none. A trace goes with an event through the log if the
process publishes it that committed it; what the sweep publishes has none.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

_FIELD = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)
_KEY = "traceparent"


class Trace(NamedTuple):
    """Our part of a trace: its id, and that of a span of our own, both in hexadecimal."""

    trace_id: str
    span_id: str
    is_sampled: bool


# Of the request, or the event, that is dealt with.
CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)


def take_up(traceparent: bytes) -> Trace | None:
    """A new span of the trace that the field names; None if it is malformed."""
    found = _FIELD.fullmatch(traceparent)
    # Later versions may say more; this one says nothing more.
    if found is None or (found[1] == b"00" and found[4] is not None):
        return None
    return Trace(found[2].decode(), secrets.token_hex(8), bool(int(found[3], 16) & 1))


def handed_on(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event with the trace of the request that caused it, if there is one."""
    trace = CURRENT.get()
    if trace is None:
        return event
    return {**event, _KEY: f"00-{trace.trace_id}-{trace.span_id}-{trace.is_sampled:02x}"}


def of_event(event: Mapping[str, Any]) -> Trace | None:
    """A new span of the trace that an event was handed on with."""
    found = event.get(_KEY)
    return take_up(found.encode()) if isinstance(found, str) else None
