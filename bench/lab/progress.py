"""A line on the terminal that says how far a run is and what is left; elsewhere, a line a round."""

from __future__ import annotations

import sys
import time

from bench.lab.plan import duration

_BAR = 24


class Progress:
    """Counts windows. What is left is told by what those so far took."""

    def __init__(self) -> None:
        self.begin(0, 0)
        self._is_terminal = sys.stderr.isatty()

    def begin(self, windows: int, takes_s: float) -> None:
        """From now on, so many windows, in about so many seconds."""
        self._windows = windows
        self._takes_s = takes_s
        self._begun = time.monotonic()
        self._done = 0

    def say(self, what: str) -> None:
        """Show the line anew, with what is under way."""
        if self._is_terminal:
            full = round(_BAR * self._done / max(self._windows, 1))
            bar = "█" * full + "░" * (_BAR - full)
            sys.stderr.write(f"\r\x1b[K{bar} {self._left()} left · {what}")
            sys.stderr.flush()

    def step(self, what: str) -> None:
        """Move the bar on by one window."""
        self._done += 1
        self.say(what)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")
        else:
            text = f"{text} ({self._left()} left)"
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the bar off the terminal."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _left(self) -> str:
        share = self._done / max(self._windows, 1)
        passed = time.monotonic() - self._begun
        # At first what was planned says more than what was seen.
        seen = passed / share if share else self._takes_s
        return duration(max(seen * share + self._takes_s * (1 - share) - passed, 0))
