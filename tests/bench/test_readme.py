"""Pages that show figures are made from the files in which the figures are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench import readme, report
from tests.bench.scripts import ROOT


def test_every_page_is_what_its_figures_make_of_it() -> None:
    made = readme.pages()
    assert ROOT / "README.md" in made
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m bench.readme"


def test_other_figures_make_other_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = readme.pages()
    figures = report.published("compare")
    for one in figures["figures"]:
        if one["server"] == "FastAPI":
            one["requests_per_s"] /= 10
    (tmp_path / "compare.json").write_text(json.dumps(figures))
    monkeypatch.setattr(report, "_RESULTS", tmp_path)
    after = readme.pages()
    assert re.search(r"\d{3} times those of FastAPI", after[ROOT / "README.md"])
    charts = [pages[path] for pages in (before, after) for path in pages if path.suffix == ".svg"]
    assert len({*charts}) == 2
