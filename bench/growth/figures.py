"""Samples as a table and as a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

from bench.report import Round, Spread

mpl.use("svg")

# What a size counts.
SIZES = {
    "users": "users",
    "friends": "friends of the user",
    "messages": "messages of the dialog",
    "workers": "workers",
    "sockets": "sockets of one node",
}
_PANEL_INCHES = (3.2, 2.6)
_LEGEND_INCHES = 1.7
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00")


@dataclass(frozen=True, slots=True)
class Sample:
    """One round at one size.

    CPU times per request, of a node per socket that is sent to, in microseconds; memory per socket
    in 10^3 bytes; what others took of the server's core, 0..1.
    """

    axis: str
    line: str
    size: int
    number: int
    server_cpu_us: float
    p50_ms: float
    others_on_core: float
    postgres_cpu_us: float | None = None
    memory_kb: float | None = None

    @classmethod
    def of(cls, axis: str, line: str, size: int, found: Round) -> Self:
        """From a round of `compare`."""
        return cls(
            axis=axis,
            line=line,
            size=size,
            number=found.number,
            server_cpu_us=found.server_cpu_us,
            p50_ms=found.p50_ms,
            others_on_core=found.others_on_server_core,
            postgres_cpu_us=found.postgres_cpu_us,
        )


def _spread(samples: Sequence[Sample], name: str) -> Spread:
    return Spread.of(getattr(one, name) for one in samples)


def _lines(samples: Sequence[Sample], axis: str) -> dict[str, dict[int, list[Sample]]]:
    """The samples of an axis, by line and size."""
    found: dict[str, dict[int, list[Sample]]] = {}
    for one in samples:
        if one.axis == axis:
            found.setdefault(one.line, {}).setdefault(one.size, []).append(one)
    return {line: dict(sorted(sizes.items())) for line, sizes in found.items()}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(found: Spread) -> str:
    return f"{_number(found.median)} ({_number(found.low)}..{_number(found.high)})"


def table(samples: Sequence[Sample]) -> list[str]:
    """For each axis: medians with lowest and highest, and CPU as a multiple of the smallest's."""
    text: list[str] = []
    for axis in (axis for axis in SIZES if any(one.axis == axis for one in samples)):
        other, name = (
            ("memory a socket, kB", "memory_kb")
            if axis == "sockets"
            else ("PostgreSQL CPU, µs", "postgres_cpu_us")
        )
        per = " a socket told" if axis == "sockets" else ""
        text += [
            f"| {axis} | {SIZES[axis]} | server CPU{per}, µs | × the smallest's | {other} "
            "| × the smallest's | p50, ms | others on core 0 |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for line, sizes in _lines(samples, axis).items():
            first = next(iter(sizes.values()))
            for size, found in sizes.items():
                cells = []
                for one in ("server_cpu_us", name):
                    now, then = _spread(found, one), _spread(first, one)
                    cells.append(_cell(now))
                    cells.append(f"{now.median / then.median:.2f}" if then.median > 0 else "")
                cells.append(_cell(_spread(found, "p50_ms")))
                cells.append(f"{_spread(found, 'others_on_core').median:.0%}")
                text.append(f"| {line} | {size:,} | {' | '.join(cells)} |")
        text.append("")
    return text


def _panel(
    panel: Axes, lines: dict[str, dict[int, list[Sample]]], value: Callable[[Sample], float]
) -> None:
    """Medians over sizes, with bars from the lowest to the highest."""
    # One colour for a scenario; what is read anew is dashed.
    colours: dict[str, str] = {}
    for line, sizes in lines.items():
        name, _, how = line.rpartition(", ")
        colour = colours.setdefault(name or line, _COLOURS[len(colours) % len(_COLOURS)])
        spreads = [Spread.of(map(value, found)) for found in sizes.values()]
        middle = [one.median for one in spreads]
        panel.errorbar(
            list(sizes),
            middle,
            yerr=(
                [one.median - one.low for one in spreads],
                [one.high - one.median for one in spreads],
            ),
            label=line,
            color=colour,
            linestyle="--" if how == "read anew" else "-",
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=2,
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(alpha=0.25)


def plot(samples: Sequence[Sample], out: Path) -> None:
    """A column of two panels for each axis, as SVG: the same bytes for the same samples."""
    axes = [axis for axis in SIZES if any(one.axis == axis for one in samples)]
    width, height = _PANEL_INCHES
    style = {"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 8}
    with mpl.rc_context(style):
        figure, panels = pyplot.subplots(
            2, len(axes), squeeze=False, figsize=(width * len(axes), 2 * height + _LEGEND_INCHES)
        )
        for column, axis in enumerate(axes):
            above, below = panels[0][column], panels[1][column]
            lines = _lines(samples, axis)
            _panel(above, lines, lambda one: one.server_cpu_us)
            above.set_title(axis, fontweight="bold")
            if axis == "sockets":
                above.set_ylabel("node CPU, µs per socket told")
                _panel(below, lines, lambda one: one.memory_kb or 0)
                below.set_ylabel("node memory, kB per socket")
            else:
                above.set_ylabel("service CPU, µs per request")
                _panel(below, lines, lambda one: one.postgres_cpu_us or 0)
                below.set_ylabel("PostgreSQL CPU, µs per request")
            below.set_xlabel(SIZES[axis])
            below.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.22), frameon=False)
        figure.tight_layout()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
