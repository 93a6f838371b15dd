"""Pages that show figures are made from the files in which the figures are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bench import published, readme, report
from bench.published import PublishedError, Table
from tests.bench.scripts import BENCH, ROOT

PAGE = BENCH / "README.md"
# What is measured has one of these units; a parameter of a method has none of them.
FIGURE = re.compile(r"\d ?(?:ms|µs|%|MB|kB|KB|GB)(?!\w)")


def prose(template: str) -> str:
    """A template without code, directives, and tables of words."""
    text = re.sub(r"```.*?```|`[^`]*`|\{\{.*?\}\}", "", template, flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("|"))


def test_every_page_is_what_its_figures_make_of_it() -> None:
    made = readme.pages()
    assert {ROOT / "README.md", PAGE} <= {*made}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m bench.readme"


def test_other_figures_make_other_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(report.results(), tmp_path / "results")
    before = readme.pages()
    monkeypatch.setattr(report, "_RESULTS", tmp_path / "results")
    path = published.file("compare.json")
    figures = json.loads(path.read_text(encoding="utf-8"))
    for one in figures["figures"]:
        if one["server"] == "FastAPI":
            one["requests_per_s"] /= 10
    path.write_text(json.dumps(figures))
    path = published.file("search_prefixes.md")
    path.write_text(re.sub(r"^\| [^|-]+ \|", "| 9.87 |", path.read_text(), flags=re.MULTILINE))
    after = readme.pages()
    assert re.search(r"\d{3} times those of FastAPI", after[ROOT / "README.md"])
    assert "| 9.87 " in after[PAGE] and "| 9.87 " not in before[PAGE]
    charts = {
        text
        for made in (before, after)
        for path, text in made.items()
        if path.name == "compare.svg"
    }
    assert len(charts) == 2


def test_no_figure_is_typed_into_the_template() -> None:
    template = prose(readme.TEMPLATE.read_text(encoding="utf-8"))
    assert not [template[max(0, at.start() - 40) : at.end()] for at in FIGURE.finditer(template)]
    assert FIGURE.search(prose("A page takes 1.5 ms, `2 ms`."))


def test_every_file_of_figures_is_on_the_page() -> None:
    named = {*re.findall(r"\{\{table (\w+)", readme.TEMPLATE.read_text(encoding="utf-8"))}
    # The laboratory's own are pictures and links: tests/bench/test_lab_published.py.
    lab = {*report.results().glob("lab*/**/*.*")}
    assert named == {path.stem for path in {*report.results().rglob("*.*")} - lab}


def test_a_table_gives_rows_and_columns() -> None:
    table = Table(["a", "b, ms"], [["one", "1"], ["two", "2"], ["two more", "3"]])
    assert table.with_columns(["b, ms"]).lines() == [
        "| b, ms |", "| --- |", "| 1 |", "| 2 |", "| 3 |"
    ]  # fmt: skip
    assert table.having("a", "more").rows == [["two more", "3"]]
    with pytest.raises(PublishedError):
        table.with_columns(["c"])


@pytest.mark.parametrize(
    "directive",
    [
        "{{table}}",
        "{{table nothing 1}}",
        "{{table compare 9}}",
        "{{table compare 1 rows:2}}",
        "{{heading nothing}}",
        "{{figure compare}}",
    ],
)
def test_a_directive_that_leads_nowhere_ends_the_run(directive: str) -> None:
    with pytest.raises((PublishedError, FileNotFoundError)):
        readme.rendered(f"# Title\n\n{directive}\n")
