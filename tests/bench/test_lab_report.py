"""The report of a run, as it is read: JSON by programs, and one page in a browser."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By

from bench.lab import __main__ as command
from bench.lab import catalog, frames, methods, quiet, report
from bench.lab.findings import CPU
from bench.lab.quiet import Quiet
from bench.lab.report.scale import Scale
from bench.lab.results import Results
from tests.bench import lab_runs

if TYPE_CHECKING:
    from tests.web.chromium import Browser

BYTES_MAX = 1_000_000
WIDTHS = (360, 1280)


@pytest.fixture(scope="module")
def results() -> Results:
    return lab_runs.whole()


@pytest.fixture(scope="module")
def directory(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lab")
    report.write(path, results)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from tests.web.chromium import CHROMIUM, Browser

    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    chromium = Browser(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.quit()


def test_json_has_every_comparison_and_every_raw_round(directory: Path, results: Results) -> None:
    found = json.loads((directory / "report.json").read_text())
    assert len(found["windows"]) == len(results.windows)
    assert {one["with"] for one in found["comparisons"]} | {"usual"} >= {
        one.name for one in catalog.LADDER
    }
    for one in found["comparisons"]:
        assert len(one["rounds"]) == results.rounds
        measure = one["measures"][CPU]
        low, high = measure["interval"]
        assert low <= measure["ratio"] <= high
        assert measure["verdict"]


def test_nothing_comes_from_elsewhere(directory: Path) -> None:
    text = (directory / "report.html").read_text()
    assert len(text.encode()) < BYTES_MAX
    seen: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.extend(name for name, _ in attrs if name in ("src", "href", "srcset"))
            assert tag not in ("link", "script", "img", "iframe")

    Links().feed(text)
    assert not seen and "url(" not in text and "@import" not in text


@pytest.mark.one_database
def test_the_first_screen_has_the_five_best_with_snippets(
    browser: Browser, directory: Path
) -> None:
    browser.get((directory / "report.html").as_uri())
    cards = browser.find_elements(By.CSS_SELECTOR, ".cards li")
    assert len(cards) == 5
    assert all(card.find_element(By.TAG_NAME, "pre").text for card in cards)
    gains = [float(card.find_element(By.CSS_SELECTOR, ".number").text.split()[0]) for card in cards]
    assert gains == sorted(gains, reverse=True)
    assert max(card.rect["y"] + card.rect["height"] for card in cards) < 1000
    assert "not to be published" not in browser.page_source.lower()


@pytest.mark.one_database
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_a_phone_and_a_desk(browser: Browser, directory: Path, width: int) -> None:
    """Nothing is wider than the screen, and every bar lies in its track."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((directory / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    rows = browser.find_elements(By.CSS_SELECTOR, ".row")
    assert len(rows) > 20
    outside = browser.execute_script("""
        return [...document.querySelectorAll('.bar')].filter(bar => {
            const track = bar.parentElement.getBoundingClientRect();
            const here = bar.getBoundingClientRect();
            return here.left < track.left - 1 || here.right > track.right + 4;
        }).length""")
    assert outside == 0
    overlapping = browser.execute_script("""
        return [...document.querySelectorAll('.ticks')].filter(axis => {
            const ticks = [...axis.children].map(tick => tick.getBoundingClientRect());
            return ticks.some((one, n) => n > 0 && one.width > 0 && one.left < ticks[n - 1].right);
        }).length""")
    assert overlapping == 0


def test_a_page_of_a_crowded_machine_says_so(tmp_path: Path, results: Results) -> None:
    pages = [
        dataclasses.replace(results, noise=noise)
        for noise in (
            Quiet((0.4, 0.01), 0.0, (0.02, 0.02)),
            Quiet((0.0, 0.0), 0.05, (0.02, 0.02)),
            # Another machine is on the same physical core.
            Quiet((0.0, 0.0), 0.0, (0.02, 0.4)),
        )
    ]
    for one in (*pages, dataclasses.replace(results, rounds_planned=20)):
        report.write(tmp_path, one)
        for name in ("report.md", "report.html"):
            assert "Not to be published." in (tmp_path / name).read_text()
        assert json.loads((tmp_path / "report.json").read_text())["not_to_be_published"]


def test_a_look_at_the_machine_is_read_as_it_was_written() -> None:
    looks = [Quiet((0.1, 0.2), 0.0, (0.3, 0.01)), Quiet((0.2, 0.1), 0.5, (0.02, 0.4))]
    worst = quiet.worst(looks)
    assert worst == Quiet((0.2, 0.2), 0.5, (0.3, 0.4))
    assert quiet.of(json.loads(json.dumps(dataclasses.asdict(worst)))) == worst
    assert "30%, 40% more CPU time" in str(worst)
    # A report of before that was looked at.
    assert quiet.of({"lost": [0.0], "steal": 0.0}).is_quiet
    measured = quiet.look([0], 0.1)
    assert len(measured.lost) == len(measured.uneven) == 1 and measured.uneven[0] >= 0


def test_the_page_of_methods_is_made_of_a_report_that_may_be_published(
    directory: Path, tmp_path: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["methods", str(directory / "report.json")]) == 0
    page = capsys.readouterr().out
    of_frames = {one.method for one in frames.arms(has_node=True)}
    elsewhere = of_frames - {one.method for one in catalog.LADDER}
    for one in methods.methods().values():
        if one.name not in {"usual", "nothing", "all-at-once", "other-python", *elsewhere}:
            assert f"## {one.title}\n" in page and one.snippet in page
    assert "On the ladder: zipf keys: a user by id +25 % [" in page
    assert "no difference seen for " in page
    report.write(tmp_path, dataclasses.replace(results, rounds_planned=20))
    with pytest.raises(SystemExit):
        command.main(["methods", str(tmp_path / "report.json")])
    assert "not to be published" in capsys.readouterr().err


def test_axes_have_plain_numbers_apart_from_each_other() -> None:
    costs = Scale.of_costs([46.0, 1146.0, 250.0])
    assert [text for _, text in costs.ticks] == ["50", "100", "200", "500", "1,000"]
    places = [place for place, _ in costs.ticks]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 100
    gains = [text for _, text in Scale.of_gains([-0.1, 0.4]).ticks]
    assert "0 %" in gains and "+20 %" in gains
