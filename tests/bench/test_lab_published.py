"""What pages are made of once runs of the laboratory are published."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import experiments, published, readme, report
from bench.contenders import CONTENDERS, OURS
from bench.lab import __main__ as command
from bench.lab import agreement, catalog, curves, keys, pythons, shown
from bench.lab import report as lab_report
from bench.lab.cores import Cores
from bench.lab.workloads import Cell
from tests.bench import lab_runs
from tests.bench.scripts import ROOT, options, scripts
from tests.bench.test_lab_curves import points


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is published, which the pages are then made of."""
    copy = tmp_path / "published"
    shutil.copytree(report.results(), copy)
    monkeypatch.setattr(report, "_RESULTS", copy)
    return copy


def test_a_published_run_makes_the_page_of_methods_and_two_pictures(results: Path) -> None:
    beside = results / curves.NAME
    curves.write(beside, points(), lab_runs.FACTS, lab_runs.QUIET, Cell("user", "zipf"))
    found = dataclasses.replace(lab_runs.whole(), curves=curves.read(beside))
    lab_report.write(results / "lab", found)
    report_page = (results / "lab" / "report.html").read_text()
    assert report_page.count("<polyline") == 4
    assert "How late answers are at each offered rate" in report_page
    made = {path.name: text for path, text in readme.pages().items()}
    assert "## uvloop instead of asyncio's loop" in made["METHODS.md"]
    assert "lab/ladder.svg" in made["README.md"]
    ladder = ElementTree.fromstring(made["ladder.svg"])  # noqa: S314 (our own)
    texts = ["".join(one.itertext()) for one in ladder.iter("{http://www.w3.org/2000/svg}text")]
    assert len([one for one in texts if " µs" in one]) == len(catalog.LADDER) + 1
    assert "hlfast" in made["curves.svg"] and "Go" in made["curves.svg"]
    page = readme.pages()[ROOT / "bench" / "README.md"]
    assert "lab-curves/curves.svg" in page and "[each method in ten lines](METHODS.md)" in page


def test_a_run_that_is_not_to_be_published_is_none(results: Path) -> None:
    shutil.rmtree(results / "lab", ignore_errors=True)
    before = readme.pages()
    broken_off = dataclasses.replace(lab_runs.whole(), rounds_planned=20)
    lab_report.write(results / "lab", broken_off)
    assert readme.pages() == before


def test_what_was_found_with_foreign_services_is_a_table(results: Path) -> None:
    for one in shown.SERVICES[:2]:
        lab_report.write(results / "lab" / "foreign" / one.name, lab_runs.whole())
    lines = shown.lines(results / "lab" / "foreign")
    assert any("httpbinx 1.13.1" in line and "uvloop" in line for line in lines)
    assert not any("pygeoapi" in line for line in lines)
    for one in shown.SERVICES:
        assert (Path(shown.__file__).parent / one.name / "requests.http").exists()


def test_the_headline_is_that_of_zipf(results: Path) -> None:
    path = published.file("compare.json")
    document = json.loads(path.read_text())
    rounds = [one for one in document["figures"] if one["server"] != "static"]
    for population, factor in ((keys.ZIPF, 3.0), (keys.COLD, 7.0)):
        document["figures"] += [
            {**one, "keys": population, "requests_per_s": one["requests_per_s"] * factor}
            if one["server"] == OURS
            else {**one, "keys": population}
            for one in rounds
        ]
    document["figures"] = [one for one in document["figures"] if "keys" in one]
    path.write_text(json.dumps(document))
    headline = readme.pages()[ROOT / "README.md"]
    assert "as popular as Zipf's law has it" in headline
    zipf, cold = (
        int(headline.partition(words)[0].split()[-1])
        for words in (" times those of FastAPI", " times where each key is asked for once")
    )
    assert cold / zipf == pytest.approx(7 / 3, rel=0.05)


def test_keys_are_the_same_for_every_server() -> None:
    from bench import compare

    asked = options("bench.compare", "--peers", "static", "Go", "--keys", "cold", "zipf")
    plan = compare.plan_of(asked, [CONTENDERS[name] for name in (OURS, "static", "Go")])
    assert [one.name for one in plan.arms] == [OURS, "static", "Go", catalog.AGAIN]
    assert {one.population for one in plan.cells} == {keys.COLD, keys.ZIPF, ""}
    assert options("bench.compare").keys == keys.POPULATIONS


def test_every_script_is_an_experiment_that_the_lab_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    modules = {one.module for one in experiments.EXPERIMENTS if one.module}
    assert modules == set(scripts())
    assert command.main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {one.name} " in said for one in experiments.EXPERIMENTS if one.name != "lab")
    assert command.main(["search_prefixes", "--help"]) == 0
    assert "--repeats" in capsys.readouterr().out


def test_as_many_rounds_as_fit() -> None:
    def plan_of(*words: str) -> command.Plan:
        return command.plan_of(command.parser().parse_args(["ladder", "left-out", *words]))

    cores = len(Cores.of_machine().all)
    plan = plan_of("--minutes", "25")
    assert {one.name for one in plan.arms} == {
        *(one.name for one in (*catalog.LADDER, *catalog.LEFT_OUT)),
        catalog.AGAIN,
    }
    assert plan.takes_s(cores) <= 25 * 60
    assert dataclasses.replace(plan, rounds=plan.rounds + 1).takes_s(cores) > 25 * 60
    assert plan_of("--minutes", "0.1").rounds == 1


def test_the_same_twice_of_a_run_that_was_made(tmp_path: Path) -> None:
    lab_report.write(tmp_path, lab_runs.whole(rounds=20))
    words = ["aa", "--of", str(tmp_path / "report.json"), "--out", str(tmp_path / "aa")]
    assert command.main(words) == 0
    found = json.loads((tmp_path / "aa" / "report.json").read_text())["proof"]
    # Two sets of ten rounds, two cells.
    assert found["same"]["comparisons"] == 4 and found["slowed"]["comparisons"] == 0
    assert "Slowed down" not in (tmp_path / "aa" / "report.md").read_text()


def run_at(directory: Path, hour: int, costs_us: Mapping[str, float]) -> Path:
    """The report of a run that ended at that hour, and measured such costs."""
    facts = {**lab_runs.FACTS, "date": f"2026-11-27 {hour:02}:00 UTC"}
    arms = catalog.chosen(list(costs_us), is_quick=True)
    costs = {**costs_us, catalog.AGAIN: [*costs_us.values()][-1]}
    made = lab_runs.results(costs, arms, [Cell("user", "zipf")], rounds=8)
    lab_report.write(directory / str(hour), dataclasses.replace(made, facts=facts))
    return directory / str(hour) / "report.json"


@pytest.mark.parametrize(
    ("hours", "third", "status", "said"),
    [
        ((9, 11, 10), 130.0, 0, "none have another sign"),
        ((9, 11, 10), 230.0, 1, "1 has another sign"),
        ((9, 11, 11), 130.0, 1, "0.0 hours or more apart"),
    ],
    ids=["they do", "one says the opposite", "at the same hour"],
)
def test_runs_at_different_hours_say_the_same(
    tmp_path: Path,
    results: Path,
    hours: tuple[int, ...],
    third: float,
    status: int,
    said: str,
) -> None:
    costs = {"usual": 200.0, "uvloop": 130.0}
    asked = [str(run_at(tmp_path / "a", hour, costs)) for hour in hours[:2]]
    asked.append(str(run_at(tmp_path / "b", hours[2], {**costs, "uvloop": third})))
    out = results / agreement.NAME
    assert command.main(["agree", *asked, "--out", str(out)]) == status
    text = (out / "report.md").read_text()
    assert said in text and "uvloop" in text
    assert text.index("Run 1: 2026-11-27 09:00") < text.index("Run 3: 2026-11-27 11:00")
    document = json.loads((out / "report.json").read_text())
    [one] = [each for each in document["comparisons"] if each["with"] == "uvloop"]
    assert len(one["measures"]) == 3 and document["holds"] is (status == 0)
    assert said in readme.pages()[ROOT / "bench" / "README.md"]


def test_runs_that_cannot_be_held_against_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(run_at(tmp_path, 9, {"usual": 200.0, "uvloop": 130.0}))
    other = str(run_at(tmp_path, 11, {"granian": 100.0, "plain-sql": 90.0}))
    broken_off = json.loads(Path(one).read_text()) | {"not_to_be_published": ["1 of 2 rounds."]}
    (tmp_path / "broken_off.json").write_text(json.dumps(broken_off))
    for asked, why in (
        ([one], "agrees with itself"),
        ([one, other], "no comparison in common"),
        ([one, str(tmp_path / "broken_off.json")], "1 of 2 rounds."),
    ):
        with pytest.raises(SystemExit):
            command.main(["agree", *asked, "--out", str(tmp_path / "out")])
        assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_results_have_the_same_form(tmp_path: Path) -> None:
    """Arms, rounds, ratio, interval and verdict, whichever experiment they are of."""
    lab_report.write(tmp_path / "ladder", lab_runs.whole())
    words = ["--of", str(tmp_path / "ladder" / "report.json"), "--rounds", "3"]
    command.main(["aa", *words, "--out", str(tmp_path / "aa")])
    curves.write(tmp_path / "curves", points(), lab_runs.FACTS, lab_runs.QUIET, Cell("user", "hot"))
    for name in ("ladder", "aa", "curves"):
        document = json.loads((tmp_path / name / "report.json").read_text())
        assert document["facts"] and document["method"] and document["noise"]
        assert document["not_to_be_published"] == [] and document["rounds"] >= 3
        assert document["comparisons"]
        for one in document["comparisons"]:
            assert one["with"] and one["without"] and one["workload"] and "keys" in one
            for measure in one["measures"].values():
                assert set(measure) == {"ratio", "interval", "rounds", "p", "verdict"}


def test_pythons_on_path_are_named_with_why_they_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3.13"
    broken.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    broken.chmod(0o755)
    other = tmp_path / "python3.14"
    other.write_text("#!/bin/sh\necho '[\"3.14.2\", false]'\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    found = list(pythons.on_path())
    assert pythons.summary(found) == (
        "other Pythons: python3.14 (3.14.2); not used: "
        "python3.13: pyenv: python3.13: command not found"
    )
    arm = dataclasses.replace(found[-1], python=other).arm
    assert (arm.name, arm.without, arm.argv[0]) == ("python-3.14", catalog.OURS, str(other))
    arms = catalog.chosen(["usual"], is_quick=True, more=[arm])
    assert [one.name for one in arms] == ["usual", catalog.OURS, "python-3.14", catalog.AGAIN]


def test_results_that_are_published_leave_their_journal_in_build() -> None:
    asked = argparse.Namespace(out=report.results() / "lab")
    assert report.journal(asked.out) == ROOT / "build" / "bench" / "lab"
    assert report.journal(Path("/elsewhere/lab")) == Path("/elsewhere/lab")
