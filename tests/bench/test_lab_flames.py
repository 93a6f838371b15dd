"""Flame graphs, from what py-spy writes to the drawing: no process is looked into here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

from bench.lab import catalog, flames, report
from bench.lab.flames import Flames
from bench.lab.report import flame
from tests.bench import lab_runs
from tests.bench.test_lab_report import BYTES_MAX

RAW = """\
process 12:"python -m x";thread (0x7F): MainThread;run (asyncio/r.py:1);get (bench/x.py:9) 60
process 12:"python -m x";thread (0x7F): MainThread;run (asyncio/r.py:1);dump (json/a.py:2) 30
process 12:"python -m x";thread (0x8A): other;run (asyncio/r.py:1);get (bench/x.py:9) 9
process 12:"python -m uvicorn" 1
"""


def test_threads_and_processes_are_added_up() -> None:
    assert flames.folded(RAW) == {
        "run (asyncio/r.py:1);get (bench/x.py:9)": 69,
        "run (asyncio/r.py:1);dump (json/a.py:2)": 30,
    }


def test_what_surrounds_everything_is_left_out_and_shares_are_whose_code_it_is() -> None:
    root = flame.tree(flames.folded(RAW))
    assert {*root.calls} == {"get (bench/x.py:9)", "dump (json/a.py:2)"}
    shares = flame.shares(root)
    assert next(iter(shares)) == "the service"
    assert round(shares["the service"], 2) == 0.70 and round(sum(shares.values()), 6) == 1


def test_calls_lie_below_their_callers_and_names_are_escaped() -> None:
    stacks = {"f (a.py:1);<listcomp> (a.py:2)": 40, "f (a.py:1)": 40, "g (b.py:1)": 20}
    svg = ElementTree.fromstring(flame.svg(flame.tree(stacks), "A & B"))  # noqa: S314 (our own)
    drawn = {
        one.find("title").text.partition(":")[0]: one.find("rect").attrib  # type: ignore[union-attr]
        for one in svg.iter("g")
    }
    assert set(drawn) == {"f (a.py", "<listcomp> (a.py", "g (b.py"}
    inner, outer = drawn["<listcomp> (a.py"], drawn["f (a.py"]
    assert float(inner["y"]) > float(outer["y"])
    assert float(inner["x"]) == float(outer["x"]) and float(inner["width"]) < float(outer["width"])


def test_the_report_shows_both_or_says_why_there_are_none(tmp_path: Path) -> None:
    results = lab_runs.whole()
    first, last = flames.arms_of(lab_runs.plan())
    assert (first.name, last.name) == (catalog.FIRST, catalog.OURS)
    # Deep and broad, as a real one is at most.
    stacks = {
        ";".join(f"call_{n % 7}_{depth} (fastapi/routing.py:{depth})" for depth in range(60)): n
        for n in range(1, 400)
    }
    found = Flames("a user by id", {first.name: stacks, last.name: flames.folded(RAW)})
    report.write(tmp_path, dataclasses.replace(results, flames=found))
    page = (tmp_path / "report.html").read_text()
    assert page.count('<svg class="flame"') == 2
    assert len(page.encode()) < BYTES_MAX
    refused = Flames("a user by id", {}, "py-spy may not look into other processes here: EPERM")
    report.write(tmp_path, dataclasses.replace(results, flames=refused))
    page = (tmp_path / "report.html").read_text()
    assert "There are none: py-spy may not look" in page and '<svg class="flame"' not in page
