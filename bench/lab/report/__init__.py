"""The report of a run: JSON with every raw round, Markdown, and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.lab.cores import Cores
from bench.lab.findings import Comparison
from bench.lab.plan import Plan
from bench.lab.quiet import Quiet
from bench.lab.window import Window


def write(
    directory: Path,
    plan: Plan,
    cores: Cores,
    windows: Sequence[Window],
    found: Sequence[Comparison],
    noise: Quiet,
) -> str:
    return "\n".join(f"{c.kind} {'+'.join(c.methods)} [{c.cell}]: {c.verdict}" for c in found)
