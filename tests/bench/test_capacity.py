"""The page of capacities is arithmetic: what is needed follows from costs and users."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench import capacity, published, report
from bench.capacity import API, FOLLOWER, MAIN, NODES, Costs, need

COSTS = Costs.published()
USERS = 10**6


def test_needs_grow_with_users() -> None:
    small, large = need(USERS, COSTS), need(10 * USERS, COSTS)
    for what, cores in small.cores.items():
        assert large.cores[what] == pytest.approx(10 * cores)
    assert large.main_bytes == pytest.approx(10 * small.main_bytes)
    assert large.dialog_bytes == pytest.approx(10 * small.dialog_bytes)


def test_a_core_is_planned_for_as_much_work_as_was_measured() -> None:
    lines = dict.fromkeys(capacity.HOURLY, 0.0) | {"feed page, read anew": 250.0}
    found = need(USERS, replace(COSTS, service=lines))
    pages_per_s = USERS * capacity.ONLINE * capacity.HOURLY["feed page, read anew"] / 3600
    assert found.cores[API] == pytest.approx(pages_per_s * 250e-6 / capacity.USE)


@pytest.mark.parametrize("what", need(USERS, COSTS).filled())
def test_what_breaks_is_full_at_that_many_users(what: str) -> None:
    assert need(int(capacity.breaks_at(what, COSTS)), COSTS).filled()[what] == pytest.approx(1)


def test_no_number_of_nodes_is_enough_where_one_cannot_follow() -> None:
    assert need(USERS, replace(COSTS, event=1e6)).nodes == float("inf")
    cheap = need(USERS, replace(COSTS, event=0.0, frame=0.0))
    assert cheap.cores[NODES] == cheap.cores[FOLLOWER] == 0
    assert cheap.nodes == USERS * capacity.ONLINE / capacity.SOCKETS


def test_other_figures_make_another_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = capacity.page()
    shutil.copytree(report.results(), tmp_path / "results")
    monkeypatch.setattr(report, "_RESULTS", tmp_path / "results")
    path = published.file("growth.json")
    figures = json.loads(path.read_text(encoding="utf-8"))
    for one in figures["figures"]:
        if one["postgres_cpu_us"] is not None:
            one["postgres_cpu_us"] *= 3
    path.write_text(json.dumps(figures))
    costs = Costs.published()
    assert need(USERS, costs).cores[MAIN] == pytest.approx(3 * need(USERS, COSTS).cores[MAIN])
    assert capacity.page() != before
