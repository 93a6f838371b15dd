"""What was measured is kept, and the next run goes on from whole rounds of the same plan."""

from __future__ import annotations

from pathlib import Path

from bench.lab.journal import Journal
from bench.lab.workloads import Cell
from tests.bench.lab_runs import window

CELL = Cell("user", "zipf")


def filled(directory: Path, windows: int, fingerprint: str = "plan") -> Journal:
    """Two windows a round, three rounds are wanted."""
    journal = Journal(directory, fingerprint, rounds=3, windows_a_round=2)
    for n in range(len(journal.windows), windows):
        journal.add(window(n // 2 + 1, f"arm{n % 2}", CELL, 100.0))
    return journal


def test_a_run_that_was_broken_off_goes_on_from_its_last_whole_round(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    again = Journal(tmp_path, "plan", rounds=3, windows_a_round=2)
    assert len(again.windows) == 3 and again.rounds == {1}
    again.forget_halves()
    assert [one.round for one in again.windows] == [1, 1]
    third = filled(tmp_path, 6)
    assert third.rounds == {1, 2, 3} and len(third.windows) == 6
    assert not (tmp_path / "rounds-before.jsonl").exists()


def test_a_line_that_was_cut_short_is_none(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    with journal.path.open("a") as file:
        file.write('{"round": 2, "arm": "ar')
    again = Journal(tmp_path, "plan", rounds=3, windows_a_round=2)
    assert len(again.windows) == 3


def test_another_plan_and_a_whole_run_are_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    other = Journal(tmp_path, "another plan", rounds=3, windows_a_round=2)
    assert other.windows == []
    before = tmp_path / "rounds-before.jsonl"
    assert len(before.read_text().splitlines()) == 4
    filled(tmp_path, 6, "another plan")
    anew = Journal(tmp_path, "another plan", rounds=3, windows_a_round=2)
    assert anew.windows == []
    assert len(before.read_text().splitlines()) == 7
