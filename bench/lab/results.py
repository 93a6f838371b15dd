"""All that a page shows of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.lab import findings
from bench.lab.arms import Kind
from bench.lab.findings import Comparison, Figures
from bench.lab.flames import Flames
from bench.lab.quiet import Quiet
from bench.lab.window import Window
from bench.lab.workloads import Cell

# Beyond, the windows say that their warm-up was too short.
SETTLED_MAX = 0.05


# Of each part of a page: its title, and what it shows.
PARTS = {
    Kind.LADDER: (
        "The ladder",
        "Each row has one method more than the one above.",
    ),
    Kind.LEFT_OUT: (
        "Ours without one method",
        "What each switch of the service brings beside all others: the whole service against the "
        "same without it.",
    ),
    Kind.ADVISED: (
        "What is often advised",
        "Each beside the rung of the ladder that it is usually advised for.",
    ),
    Kind.SAME: (
        "A/A: the same twice",
        "Two starts of one service. What is seen here is not there.",
    ),
}


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves that were taken beside a run: by plot and by name, values over the offered rate.

    `below` stands under the axis of the rates; `words` say what was asked, when and how.
    """

    words: str
    warnings: Sequence[str]
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
    below: str


@dataclass(frozen=True, slots=True)
class Results:
    """`words`: how it was measured, in sentences. `title_of` gives several methods' name."""

    heading: str
    facts: dict[str, str]
    words: tuple[str, ...]
    windows: Sequence[Window]
    comparisons: Sequence[Comparison]
    noise: Quiet
    rounds: int
    rounds_planned: int
    title_of: Callable[[tuple[str, ...]], str]
    parts: Mapping[Kind, tuple[str, str]] = field(default_factory=lambda: PARTS)
    flames: Flames | None = None
    curves: Curves | None = None

    @property
    def cells(self) -> list[Cell]:
        """In the order of the plan, as far as there are verdicts."""
        return list(dict.fromkeys(one.cell for one in self.comparisons))

    @property
    def figures(self) -> list[Figures]:
        """Medians of each arm in each cell."""
        return findings.figures(self.windows)

    def of_kind(self, kind: Kind, cell: Cell | None = None) -> list[Comparison]:
        """In the order of the catalogue."""
        return [one for one in self.comparisons if one.kind == kind and cell in (None, one.cell)]

    @property
    def same_seen(self) -> int:
        """A/A comparisons that show what is not there."""
        return sum(one.verdict.is_seen for one in self.of_kind(Kind.SAME))

    def warnings(self) -> list[str]:
        """Why this page is not to be published; none if it may be."""
        found = []
        if not self.noise.is_quiet:
            found.append(f"The machine was crowded: {self.noise}.")
        if self.same_seen:
            found.append(f"{self.same_seen} A/A comparisons show a difference that is not there.")
        if self.rounds < self.rounds_planned:
            found.append(f"{self.rounds} of {self.rounds_planned} rounds were measured.")
        unsettled = findings.not_settled(self.windows)
        if abs(unsettled) > SETTLED_MAX:
            found.append(
                f"Windows begin {unsettled:+.0%} dearer than they end: no warm-up is over."
            )
        return found

    def sureness(self) -> list[str]:
        """How sure the page is."""
        same = self.of_kind(Kind.SAME)
        found = [
            f"{len(same)} A/A comparisons of one service with itself, of which "
            f"{self.same_seen or 'none'} show a difference.",
            f"{self.rounds} rounds, each with new processes; intervals hold 95 % (bootstrap), and "
            f"a difference is called one only after Holm's correction for all "
            f"{2 * len(self.comparisons)} verdicts of the page.",
            f"Noise of the machine: {self.noise}.",
            "Every answer was checked: the first to a request against plain SQL or the arm it is "
            "held against, all others, of whichever arm, against the same bytes.",
        ]
        return found
