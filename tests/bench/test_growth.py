"""`bench.growth` runs from end to end on small sizes, and its table and plot show all of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

LINES = {
    ("friends", "feed page, cached", 10),
    ("friends", "feed page, cached", 100),
    ("friends", "feed page, read anew", 10),
    ("friends", "feed page, read anew", 100),
    ("messages", "dialog page, cached", 10),
    ("messages", "dialog page, read anew", 10),
    ("messages", "message send", 10),
}
TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two axes, one of them measured later."""
    # matplotlib takes longest of all to load, and only here.
    from bench.growth import __main__ as growth

    path = tmp_path_factory.mktemp("growth") / "growth"
    short = ("--largest", "100", "--rounds", "1", "--seconds", "0.2", "--warm-up", "0.1")
    for axis in ("friends", "messages"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["growth", "--only", axis, *short, "--out", str(path)])
            assert growth.main() == 0
    return path


def test_every_size_is_in_the_figures_and_the_table(out: Path) -> None:
    found = json.loads(out.with_suffix(".json").read_text())["figures"]
    assert {(one["axis"], one["line"], one["size"]) for one in found} == LINES
    table = out.with_suffix(".md").read_text()
    for _, line, size in LINES:
        assert f"| {line} | {size:,} | " in table


def test_plot_has_a_panel_for_each_axis_and_names_lines_and_units(out: Path) -> None:
    from bench.growth.figures import SIZES

    svg = out.with_suffix(".svg").read_text()
    drawing = ElementTree.fromstring(svg)  # noqa: S314 (our own)
    texts = ["".join(one.itertext()) for one in drawing.iter(TEXT)]
    for axis in ("friends", "messages"):
        assert texts.count(axis) == 1
        assert texts.count(SIZES[axis]) == 1
    for line in {line for _, line, _ in LINES}:
        assert line in texts
    assert texts.count("service CPU, µs per request") == 2
    assert texts.count("PostgreSQL CPU, µs per request") == 2


def test_plot_of_the_same_figures_is_the_same_file(out: Path, tmp_path: Path) -> None:
    from bench.growth.figures import Sample, plot

    found = json.loads(out.with_suffix(".json").read_text())["figures"]
    plot([Sample(**one) for one in found], tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == out.with_suffix(".svg").read_bytes()
