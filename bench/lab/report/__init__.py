"""The report of a run: JSON with every raw round, Markdown, and one HTML page."""

from __future__ import annotations

from pathlib import Path

from bench.lab.report import document, markdown, page
from bench.lab.results import Results


def write(directory: Path, results: Results) -> str:
    """`report.json`, `report.md` and `report.html`; gives the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*markdown.lines(results), ""])
    (directory / "report.md").write_text(text, encoding="utf-8")
    (directory / "report.json").write_text(document.text(results), encoding="utf-8")
    (directory / "report.html").write_text(page.html(results), encoding="utf-8")
    return text
