"""The curves of an open loop, from points to the page: numbers only."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from bench.lab import curves
from bench.lab.curves import Point
from bench.lab.report import lines_chart
from bench.lab.workloads import Cell
from tests.bench.lab_runs import FACTS, QUIET


def points() -> list[Point]:
    """Two servers, three rounds: latencies grow with the rate, and one round is far off."""
    found = []
    for number in (1, 2, 3):
        for name, capacity in (("hlfast", 20_000.0), ("Go", 10_000.0)):
            for share in curves.SHARES:
                late = 1 / (1 - share) * (50 if number == 3 else 1)
                rate = capacity * share
                values = {"p50_ms": late, "p99_ms": late * 3, "p999_ms": late * 9, "lag_ms": 0.1}
                found.append(Point(name, number, share, rate, rate, unsent=number, **values))
    return found


def test_medians_of_the_rounds() -> None:
    middles = curves.medians(points())
    assert [one.share for one in middles if one.name == "Go"] == list(curves.SHARES)
    half = next(one for one in middles if (one.name, one.share) == ("hlfast", 0.5))
    assert (half.offered_per_s, half.p50_ms, half.p99_ms, half.unsent) == (10_000, 2, 6, 6)


def test_latencies_at_seven_tenths_of_each_capacity() -> None:
    said = curves.sentences(points())
    # 7,000 a second lie halfway between two rates of ours, at 0.3 and 0.4 of 20,000.
    go = next(one for one in said if "Go's capacity" in one)
    ours = next(one for one in said if "hlfast's capacity" in one)
    assert "7,000 requests in a second" in go and "14,000 requests" in ours
    between = (1 / 0.7 + 1 / 0.6) / 2
    assert f"p50 {between:.2f} ms with hlfast, {1 / 0.3:.2f} ms with Go" in go
    assert f"p50 {1 / 0.3:.2f} ms, p99 {3 / 0.3:.2f} ms" in ours


def test_a_rate_that_we_were_not_offered_is_said() -> None:
    slower = [one for one in points() if one.name == "Go" or one.share < 0.3]
    assert any("more than hlfast was offered" in one for one in curves.sentences(slower))


def test_page_names_each_line_and_has_plain_numbers(tmp_path: Path) -> None:
    curves.write(tmp_path, points(), FACTS, QUIET, Cell("user", "zipf"))
    page = (tmp_path / "report.html").read_text()
    assert page.count("<polyline") == 4
    assert len(json.loads((tmp_path / "report.json").read_text())["points"]) == 54
    drawn = lines_chart.panel({"hlfast": [(2000, 1.5), (18_000, 9)]}, "requests")
    svg = ElementTree.fromstring(drawn)  # noqa: S314 (our own)
    texts = ["".join(one.itertext()) for one in svg.iter("text")]
    assert {"hlfast", "requests", "2", "5", "0", "5,000", "10,000", "15,000"} <= set(texts)
    width, height = 640, 360
    for one in svg.iter("circle"):
        assert 0 < float(one.attrib["cx"]) < width and 0 < float(one.attrib["cy"]) < height
