"""How the tests are spread over processes, and what is seen of them meanwhile.

A process takes one unit after the other. A unit is what shares servers that take long to start:
the tests of one file on one database, or of several files that need the same servers. What costs
more to make than to run on a database is run on all of them by the process that made it.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_DATABASE = re.compile(r"\[(?:.*-)?(postgres|mysql)(?:-.*)?\]$")
# Files with the same costly servers. A whole folder ends in a slash.
TOGETHER = {
    # Two databases of one server that split or move shards at once are in each other's way.
    "the cluster": ("tests/citus/",),
    "the event log": (
        *(
            f"tests/events/test_{name}.py"
            for name in (
                *("cursor", "failover", "failures", "log", "open"),
                *("publisher", "resubscribe", "retention", "stopped"),
            )
        ),
        "tests/check/test_events.py",
        "tests/web/test_page_over_rabbitmq.py",
    ),
    "live": tuple(
        f"tests/live/test_{name}.py"
        for name in ("delivery", "lab", "metrics", "presence", "resume", "sessions")
    ),
    "two processes": ("tests/races/",),
    "several processes": tuple(
        f"tests/web/test_{name}.py" for name in ("auth", "lab", "log", "metrics")
    ),
}
# Made once for all databases, which takes longer than to ask one of them.
MADE_ONCE = ("tests/fuzz/",)
# Units that take longest begin first, or one of them would be what all others wait for at the end.
FIRST: tuple[str, ...] = (
    "the cluster",
    "tests/rabbitmq/",
    "tests/swarm/",
    "the event log",
    "tests/events/test_outbox.py",
    "tests/live/test_ledger.py",
    "tests/replicas/",
    "tests/bench/",
    "tests/check/",
    "tests/hl_utils/",
    "tests/crash/",
    "tests/haproxy/",
    "live",
    "tests/fuzz/",
    "several processes",
    "two processes",
    "tests/live/",
    "tests/websocket/",
    "tests/web/",
    "tests/test_response_cache.py",
    "tests/model/",
)
# `--quick`: the style gates, what needs no server, and the contract of HTTP and the websocket.
QUICK = (
    "tests/test_",
    "tests/dialogs/",
    "tests/friends/",
    "tests/posts/",
    "tests/users/",
    "tests/web/",
    "tests/live/",
    "tests/websocket/",
)
# Of those, what needs a server that comes in no wheel, or minutes.
NOT_QUICK = (
    "tests/test_response_cache.py",
    "tests/test_scheduling.py",
    "tests/websocket/test_autobahn.py",
    "tests/live/test_ledger.py",
    "tests/live/test_metrics.py",
    "tests/events/test_outbox.py",
    "tests/live/test_presence.py",
    "tests/web/test_deadlines.py",
    "tests/web/test_docs_in_browser.py",
    "tests/web/test_page_in_browser.py",
    "tests/web/test_page_over_rabbitmq.py",
    "tests/web/test_metrics.py",
    "tests/web/test_overload.py",
    "tests/web/test_stop.py",
)
# Between two lines of progress.
_PAUSE_S = 5.0


def unit(nodeid: str) -> str:
    """The name of the unit that a test belongs to."""
    path, _, test = nodeid.partition("::")
    database = _DATABASE.search(test)
    name = next((name for name, paths in TOGETHER.items() if path.startswith(paths)), path)
    return f"{name} on {database[1]}" if database and not path.startswith(MADE_ONCE) else name


def is_quick(nodeid: str) -> bool:
    """Whether a test is one of `--quick`."""
    path, _, test = nodeid.partition("::")
    chosen = path.startswith(QUICK) and not path.startswith(NOT_QUICK)
    database = _DATABASE.search(test)
    return chosen and (database is None or database[1] == "postgres")


def rank(nodeid: str) -> int:
    """Which units begin before which."""
    name = unit(nodeid)
    return next((n for n, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


class Units(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's way to hand out units, with units of ours, in the order of the collected tests."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        # Else those of the most tests would be first.
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


class Progress:
    """A line that changes on a terminal, or one for each tenth, and each failure at once."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter
        self._began = time.monotonic()
        self._total = self._done = self._failed = self._tenths = 0
        self._said_at_s = 0.0
        self._live = sys.stdout.isatty()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist."""
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """With xdist: every process collects the same."""
        self._total = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """No letter for each test."""
        if report.failed:
            return ("failed", "", "FAILED") if report.when == "call" else ("error", "", "ERROR")
        if report.skipped:
            return "skipped", "", "SKIPPED"
        return ("passed" if report.when == "call" else ""), "", ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count it."""
        if report.failed:
            self._failed += 1
            self._line(f"FAILED {report.nodeid} ({report.when})")
        if report.when != "teardown":
            return
        self._done += 1
        percent = 100 * self._done // max(self._total, 1)
        took_s = time.monotonic() - self._began
        text = f"{percent:3} %  {self._done} tests, {self._failed} failed, {took_s:.0f} s"
        if self._live:
            self._reporter.write(f"\r{text}")
        elif percent // 10 > self._tenths and took_s > self._said_at_s + _PAUSE_S:
            self._tenths, self._said_at_s = percent // 10, took_s
            self._line(text)

    def pytest_terminal_summary(self) -> None:
        """Each reason for a skip once, with the number of tests."""
        reports = self._reporter.stats.get("skipped", [])
        for reason, count in Counter(report.longrepr[2] for report in reports).items():
            self._reporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")

    def _line(self, text: str) -> None:
        self._reporter.ensure_newline()
        self._reporter.write_line(text)
