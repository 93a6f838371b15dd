"""What a node counts, and as which metrics.

Counting is all that is done on the way of an event; the rest when somebody asks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sized
from typing import Any

from hlfast.live.history import History
from hlfast.live.presence import Presence
from hlfast.live.subscriptions import Subscriptions
from hlfast.metrics import BUCKETS_S, Durations, Metric, counter, counters, gauge
from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue

_CODES = frozenset(map(int, CloseCode))


class Counts:
    """Since the node's start."""

    def __init__(self) -> None:
        # `new`, `repeated` or `unreadable`.
        self.events: Counter[str] = Counter(new=0, repeated=0, unreadable=0)
        # By whether they were recovered.
        self.resumes: Counter[bool] = Counter({True: 0, False: 0})
        self.closes: Counter[int] = Counter()
        # Handshakes by the status that they were answered with.
        self.refusals: Counter[int] = Counter()
        self.lag = Durations()


class Delivery:
    """Queued behind the sockets that an entry concerned: its turn comes when all had theirs.

    What is measured begins with the submission of the entry's first event, by the clock of another
    machine, and ends now, by ours: it is right as far as the two agree, and not less than nothing.
    """

    __slots__ = ("_lag", "_since")

    def __init__(self, since: float, lag: Durations) -> None:
        self._since = since
        self._lag = lag

    def flush(self) -> None:
        """All of it was written, but to readers that are behind."""
        self._lag.observe(max(0.0, time.time() - self._since))


def read(
    counts: Counts,
    writes: WriteQueue,
    sessions: Sized,
    subscriptions: Subscriptions,
    history: History,
    presence: Presence,
) -> Iterator[Metric]:
    """Everything that there is to know of a node, from its parts."""
    yield gauge("hlfast_ws_sockets", "Open sockets", len(sessions))
    yield gauge("hlfast_ws_users", "Users that have sockets here", len(subscriptions))
    yield gauge("hlfast_ws_readers_behind", "Readers that are behind", writes.behind)
    yield counter("hlfast_ws_frames_total", "Frames written", writes.frames)
    yield counter(
        "hlfast_ws_writes_total",
        "Writes to sockets: joins per write are frames / writes",
        writes.writes,
    )
    yield counters(
        "hlfast_ws_events_total",
        "Events read from the log, by what they were",
        "kind",
        counts.events,
    )
    yield counts.lag.metric(
        "hlfast_ws_event_lag_seconds",
        "Of entries of the log that concerned somebody here: from the submission of their first "
        "event to the last write (clocks of two machines)",
    )
    yield counters(
        "hlfast_ws_resumes_total",
        "Clients that came back with a cursor",
        "recovered",
        {str(recovered).lower(): count for recovered, count in counts.resumes.items()},
    )
    yield counters(
        "hlfast_ws_closes_total",
        "Connections that ended, by close code",
        "code",
        _by_known_code(counts.closes),
    )
    yield counters(
        "hlfast_ws_refused_handshakes_total",
        "Handshakes refused, by status",
        "status",
        {str(status): count for status, count in counts.refusals.items()},
    )
    yield gauge("hlfast_ws_tail_events", "Events kept for resumes", len(history))
    yield gauge("hlfast_ws_tail_bytes", "Bytes that they hold, about", history.size_bytes)
    yield gauge("hlfast_ws_users_online", "Users online on any node", presence.online)
    yield gauge("hlfast_ws_other_nodes", "Other nodes that are heard", presence.others)


def lab_numbers(
    counts: Counts, writes: WriteQueue, sessions: Sized, subscriptions: Subscriptions
) -> dict[str, Any]:
    """The fields of a `lab` frame but for the node's name."""
    return {
        "clock_s": round(time.monotonic(), 6),
        "cpu_s": round(time.process_time(), 6),
        "sockets": len(sessions),
        "users": len(subscriptions),
        "readers_behind": writes.behind,
        "frames": writes.frames,
        "writes": writes.writes,
        "events": counts.events["new"],
        "bounds_s": BUCKETS_S,
        "lags": counts.lag.counts,
    }


def _by_known_code(closes: Counter[int]) -> dict[str, int]:
    """A client may send any of thousands of codes, which would each be a series."""
    found: Counter[str] = Counter()
    for code, count in closes.items():
        found[str(code) if code in _CODES else "other"] += count
    return found
