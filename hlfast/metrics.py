"""Prometheus metrics: of HTTP processes, which share files, and of a process that stands alone."""

from __future__ import annotations

import asyncio
import logging
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    metrics_core,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
REQUESTS = Counter(
    "hlfast_requests_total", "Answers by endpoint and status", ["endpoint", "status"]
)
DURATION = Histogram(
    "hlfast_request_duration_seconds",
    "From the request's head to the answer's last byte handed over",
    ["endpoint"],
    buckets=BOUNDS_S,
)
READS = Counter(
    "hlfast_replicated_reads_total",
    "Reads that a replica may answer, by who did: a replica; the primary, for want of any; "
    "the primary as fallback for one that was behind or failed",
    ["answered_by"],
)


class EndpointMetrics:
    """The series of one endpoint: counted here, shared once in a while."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._duration = DURATION.labels(name)
        self._requests: dict[int, Counter] = {}
        self._answers: dict[int, int] = {}
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def count(self, status: int, duration_s: float) -> None:
        """Count an answer and its duration."""
        self._answers[status] = self._answers.get(status, 0) + 1
        self._counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def share(self) -> None:
        """Add what was counted here to the series that all workers share."""
        if not self._answers:
            return
        for status, count in self._answers.items():
            requests = self._requests.get(status)
            if requests is None:
                requests = self._requests[status] = REQUESTS.labels(self._name, str(status))
            requests.inc(count)
        # What `observe` does for one, which is all that the library offers.
        self._duration._sum.inc(self._sum_s)
        for bucket, count in zip(self._duration._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._answers.clear()
        self._counts = [0] * len(self._counts)
        self._sum_s = 0.0

    def durations(self) -> tuple[list[int], float]:
        """Answers of this process by the bucket of their duration, and all durations in seconds."""
        shared = (int(bucket.get()) for bucket in self._duration._buckets)
        counts = [sum(pair) for pair in zip(shared, self._counts, strict=True)]
        return counts, self._duration._sum.get() + self._sum_s


def exposition() -> bytes:
    """All workers' series together, in Prometheus' text format.

    What cannot be read of them is left out and counted: the rest is worth more than an error.
    """
    registry = CollectorRegistry()
    try:
        shared: Collector = _Shared(registry)  # type: ignore[no-untyped-call]
    except ValueError:
        # The directory is gone, as what cleans /tmp may have it.
        shared = _Nothing()
        registry.register(shared)
    return generate_latest(registry)


class _Shared(MultiProcessCollector):
    """The library's, which a single file that is damaged or gone would make fail."""

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        files = list(Path(self._path).glob("*.db"))
        for file in files:
            pid = file.stem.rpartition("_")[2]
            # Nobody tells when a worker was killed.
            if file.name.startswith("gauge_live") and pid.isdecimal() and not _is_alive(int(pid)):
                # Another worker may be doing the same.
                with suppress(OSError):
                    mark_process_dead(pid, self._path)  # type: ignore[no-untyped-call]
        sound = files = [file for file in files if file.exists()]
        merged = self._merged(files)
        if merged is None:
            sound = [file for file in files if self._merged([file]) is not None]
            merged = self._merged(sound) or []
        yield from merged
        yield _left_out(len(files) - len(sound))

    def _merged(self, files: Iterable[Path]) -> list[Metric] | None:
        try:
            return list(self.merge(list(map(str, files))))  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.warning("Series of a worker cannot be read: %s", type(error).__name__)
            return None


class _Nothing(Collector):
    """No worker's series can be read."""

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        return [_left_out(1)]


def _left_out(files: int) -> Metric:
    return gauge(
        "hlfast_metrics_left_out", "Files of workers' series that could not be read", files
    )


def _is_alive(pid: int) -> bool:
    """Whether it is one of our workers: the number may be another user's process by now."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


# What a process keeps as plain numbers, because to write a shared series takes microseconds

SAMPLED_EVERY_S = 1.0
CONNECTIONS = Gauge(
    "hlfast_database_connections_in_use",
    "Connections that run a statement",
    ["database"],
    multiprocess_mode="livesum",
)
QUEUED = Gauge(
    "hlfast_database_queued_statements",
    "Statements that wait for a connection",
    ["database"],
    multiprocess_mode="livesum",
)
WAITS = Counter(
    "hlfast_database_waits_total", "Statements that had to wait for a connection", ["database"]
)
WAITED = Counter(
    "hlfast_database_wait_seconds_total", "How long they waited for it in all", ["database"]
)
UNCONFIRMED = Gauge(
    "hlfast_events_unconfirmed",
    "Events submitted to the event log and not in it yet",
    multiprocess_mode="livesum",
)
LOG_FAILS = Gauge(
    "hlfast_events_log_fails",
    "Processes whose last events the event log did not take",
    multiprocess_mode="livesum",
)
SWEEPS = Counter("hlfast_outbox_sweeps_total", "Looks for what was left in an outbox", ["outbox"])
SWEPT = Counter(
    "hlfast_outbox_swept_rows_total", "Rows that were left in an outbox, and published", ["outbox"]
)
PASSWORDS = Gauge(
    "hlfast_passwords_waiting", "Passwords that wait to be hashed", multiprocess_mode="livesum"
)

IN_PROGRESS = Gauge(
    "hlfast_requests_in_progress",
    "Requests begun and not answered, but for those that wait for their client's body",
    multiprocess_mode="livesum",
)
REFUSED = Counter(
    "hlfast_requests_refused_total", "Requests refused because too many were in progress"
)
CUT = Counter(
    "hlfast_connections_cut_total",
    "Connections ended because their clients kept the service waiting, or to make room for others",
)


class Sampler:
    """Shares a process's own numbers with the others of its node, once a second."""

    def __init__(self) -> None:
        self._gauges: list[tuple[Gauge, object, str]] = []
        self._counters: list[tuple[Counter, object, str]] = []
        self._counted: list[float] = []
        self._endpoints: list[EndpointMetrics] = []

    def gauge(self, series: Gauge, part: object, number: str) -> None:
        """`series` is what this attribute of the part is now."""
        self._gauges.append((series, part, number))

    def counter(self, series: Counter, part: object, number: str) -> None:
        """`series` grows as this attribute does, which starts at 0 and never falls."""
        self._counters.append((series, part, number))
        self._counted.append(0.0)

    def endpoint(self, name: str) -> EndpointMetrics:
        """The series of an endpoint of this name."""
        self._endpoints.append(EndpointMetrics(name))
        return self._endpoints[-1]

    def durations(self) -> tuple[list[int], float]:
        """Answers of this process by the bucket of their duration, and all durations in seconds."""
        counts, total_s = [0] * (len(BOUNDS_S) + 1), 0.0
        for endpoint in self._endpoints:
            of_one, seconds = endpoint.durations()
            counts = [sum(pair) for pair in zip(counts, of_one, strict=True)]
            total_s += seconds
        return counts, total_s

    async def run(self) -> None:
        """Share the numbers of all parts now and then, until cancelled."""
        while True:
            self.share()
            await asyncio.sleep(SAMPLED_EVERY_S)

    def share(self) -> None:
        """Share the numbers of all parts."""
        for endpoint in self._endpoints:
            endpoint.share()
        for gauge, part, number in self._gauges:
            gauge.set(getattr(part, number))
        for index, (counter, part, number) in enumerate(self._counters):
            total = getattr(part, number)
            counter.inc(total - self._counted[index])
            self._counted[index] = total


# Of one process alone: read from plain numbers when somebody asks

Metric = metrics_core.Metric
# Of times from a millisecond to a minute.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Durations:
    """A histogram that costs a search among a dozen numbers."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration, in seconds."""
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    @property
    def counts(self) -> list[int]:
        """How many durations each bucket has."""
        return list(self._counts)

    def metric(self, name: str, documentation: str) -> Metric:
        """The metric with its values of now."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return metrics_core.HistogramMetricFamily(name, documentation, buckets, self._sum_s)


def gauge(name: str, documentation: str, value: float) -> Metric:
    """A number that rises and falls."""
    return metrics_core.GaugeMetricFamily(name, documentation, value)


def counter(name: str, documentation: str, value: float) -> Metric:
    """A number that only rises; its name ends in `_total`."""
    return metrics_core.CounterMetricFamily(name, documentation, value)


def counters(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter for each value of a label."""
    family = metrics_core.CounterMetricFamily(name, documentation, labels=[label])
    for one, value in values.items():
        family.add_metric([one], value)
    return family


class Reading(Collector):
    """Reads metrics anew at each scrape, and shows them."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The metrics that prometheus_client asks for."""
        return self._read()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
