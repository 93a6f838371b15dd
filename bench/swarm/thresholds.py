"""Whether a run was good enough."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import StatsEntry, calculate_response_time_percentile
from meanings import explained

# Their time is that of hashing a password, which is slow on purpose.
_HASHING = {("POST", "/users"), ("POST", "/login")}
_log = logging.getLogger(__name__)


def judge(environment: Environment) -> None:
    """Set the exit code: 1 if a threshold was not met, or nothing was asked, else 0."""
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has all the figures
    broken = list(_broken(environment))
    for line in broken:
        _log.error("Not good enough: %s", line)
    for line in explained(str(one.error) for one in environment.stats.errors.values()):
        _log.error(line)
    environment.process_exit_code = 1 if broken else 0


def _broken(environment: Environment) -> Iterable[str]:
    options = environment.parsed_options
    entries = environment.stats.entries.values()
    requests = [entry for entry in entries if entry.method != "WS"]
    frames = [entry for entry in entries if entry.method == "WS"]
    if environment.runner and environment.runner.exceptions:
        yield "the swarm itself has failed: see the exceptions above"
    asked = sum(entry.num_requests for entry in entries)
    if not any(entry.num_requests > entry.num_failures for entry in requests):
        yield "no request was answered rightly"
        return
    ratio = sum(entry.num_failures for entry in entries) / asked
    if ratio > options.max_error_ratio:
        yield f"{ratio:.4%} errors, {options.max_error_ratio:.4%} at most"
    unhashed = [entry for entry in requests if (entry.method, entry.name) not in _HASHING]
    for what, of, at_most in (
        ("requests", unhashed, options.max_p99_ms),
        ("frames", frames, options.max_frame_p99_ms),
    ):
        p99_ms = _p99_ms(of)
        if at_most and p99_ms > at_most:
            yield f"p99 of {what} {p99_ms:.0f} ms, {at_most:.0f} ms at most"
    if options.min_rps:
        right = sum(entry.num_requests - entry.num_failures for entry in requests)
        total = environment.stats.total
        seconds = (total.last_request_timestamp or 0) - (total.start_time or 0)
        rps = right / max(seconds, 1)
        if rps < options.min_rps:
            yield f"{rps:.1f} right answers a second, {options.min_rps:.1f} at least"


def _p99_ms(entries: Iterable[StatsEntry]) -> float:
    """The p99 of all requests together;

    Locust rounds times to two digits above 100 ms. 0 without times.
    """
    times: Counter[int] = Counter()
    for entry in entries:
        times.update(entry.response_times)
    return float(calculate_response_time_percentile(times, times.total(), 0.99))
