"""Prometheus metrics of the HTTP process, shared by the workers of a node through files."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Counter(
    "hlfast_requests_total", "Answers by endpoint and status", ["endpoint", "status"]
)
DURATION = Histogram(
    "hlfast_request_duration_seconds",
    "From the request's head to the answer's last byte handed over",
    ["endpoint"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


class EndpointMetrics:
    """The series of one endpoint, looked up once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._duration = DURATION.labels(name)
        self._requests: dict[int, Counter] = {}

    def count(self, status: int, duration_s: float) -> None:
        """One answer."""
        requests = self._requests.get(status)
        if requests is None:
            requests = self._requests[status] = REQUESTS.labels(self._name, str(status))
        requests.inc()
        self._duration.observe(duration_s)


def exposition() -> bytes:
    """All workers' series together, in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
