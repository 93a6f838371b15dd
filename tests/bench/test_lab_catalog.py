"""What the lab offers: each switch has a rung, each arm its words, each subset its neighbours."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import pytest

from bench.lab import __main__ as command
from bench.lab import app, catalog, frames, keys, methods
from bench.lab.arms import Kind
from bench.lab.cores import Cores
from bench.lab.keys import COLD, HOT, ZIPF
from hlfast.settings import Settings, Tuning
from tests.bench import lab_runs


def switches(arm: catalog.Arm, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """What the service makes of an arm's environment."""
    with monkeypatch.context() as patch:
        for name, value in arm.environment.items():
            patch.setenv(name, value)
        return Settings().tuning.model_dump()


def test_every_switch_has_a_rung_and_is_left_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(catalog.SWITCHES) | set(frames.SWITCHES) == set(Tuning.model_fields), (
        "a switch of settings.Tuning has no rung: add it to methods.md, and to bench.lab.catalog "
        "or, if only a websocket node has it, to bench.lab.frames"
    )
    ours = dict.fromkeys(Tuning.model_fields, True)
    *_, last = catalog.LADDER
    assert switches(last, monkeypatch) == ours
    left_out = {one.method: switches(one, monkeypatch) for one in catalog.LEFT_OUT}
    for switch, method in catalog.SWITCHES.items():
        assert left_out.pop(method) == {**ours, switch: False}
    assert not left_out


def test_a_rung_has_one_switch_more(monkeypatch: pytest.MonkeyPatch) -> None:
    of_api = [one for one in catalog.LADDER if not one.leaves_events]
    of_node = [one for one in frames.arms(has_node=False) if one.kind == Kind.LADDER][1:]
    for rungs, known in ((of_api, catalog.SWITCHES), (of_node, frames.SWITCHES)):
        on = [
            {name for name, is_on in switches(one, monkeypatch).items() if is_on and name in known}
            for one in rungs
        ]
        assert on == [{*list(known)[:count]} for count in range(len(known) + 1)]
        assert [one.method for one in rungs[1:]] == list(known.values())


def test_every_arm_has_its_words_and_no_words_are_of_none() -> None:
    named = {one.method for one in catalog.ARMS.values()}
    # Peers are named by their name.
    named |= {one.method for one in frames.arms(has_node=False)}
    assert set(methods.methods()) == named | {"all-at-once", "other-python"}
    for one in methods.methods().values():
        assert all((one.title, one.what, one.when_not, one.snippet))


def test_snippets_of_python_are_python() -> None:
    for one in methods.methods().values():
        if one.language == "python" and not one.snippet.startswith("@"):
            ast.parse(f"async def snippet():\n {one.snippet.replace(chr(10), chr(10) + ' ')}")


def test_quick_has_twelve_rungs_and_the_same_twice() -> None:
    arms = catalog.chosen([], is_quick=True)
    assert [one.kind for one in arms] == [Kind.LADDER] * 12 + [Kind.SAME]
    plan = command.plan_of(command.parser().parse_args([]))
    assert plan.arms == tuple(arms)
    assert len(plan.cells) == 2 and {one.population for one in plan.cells} == {ZIPF}
    for cores in (2, 4):
        assert plan.takes_s(cores) < 5 * 60


def test_windows_are_shown_in_the_plans_order() -> None:
    plan = command.plan_of(command.parser().parse_args(["usual", "granian", "--rounds", "2"]))
    made = [
        lab_runs.window(number, arm.name, cell, 100.0)
        for number in (1, 2)
        for cell in plan.cells
        for arm in plan.arms
    ]
    assert plan.in_order(made[::-1]) == made


def test_full_has_everything() -> None:
    plan = command.plan_of(command.parser().parse_args(["--full"]))
    assert {one.name for one in plan.arms} == set(catalog.ARMS)
    assert len(set(plan.cells)) == len(plan.cells) == 4 * 3 + 3 + 2


def held_against(names: Sequence[str]) -> dict[str, str | None]:
    """By arm."""
    return {one.name: one.without for one in catalog.chosen(names, is_quick=True)}


def test_any_subset_keeps_its_neighbours() -> None:
    assert held_against(["usual", "granian", "orjson"]) == {
        "usual": None,
        "granian": "usual",
        "orjson": "granian",
        "again": "orjson",
    }
    arms = catalog.chosen(["usual", "granian"], is_quick=True)
    assert catalog.methods_of(arms)["granian"] == [
        "uvloop",
        "httptools",
        "no-access-log",
        "granian",
    ]
    # What stands beside a rung brings it along.
    assert held_against(["without-frozen-gc"]) == {
        catalog.OURS: None,
        "without-frozen-gc": catalog.OURS,
        "again": catalog.OURS,
    }
    with pytest.raises(KeyError):
        catalog.chosen(["nothing-like-it"], is_quick=True)


def test_all_arms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in catalog.ARMS if name != catalog.AGAIN)


def test_a_plan_is_said_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["usual", "granian", "--plan"]) == 0
    said = capsys.readouterr().out
    assert "Arms (3): usual, granian, again." in said
    assert "Takes about " in said


def test_populations_of_keys() -> None:
    found = list(range(2000))
    cold = list(keys.order(found, COLD, 1))
    assert len(cold) == len(set(cold)) == 1900
    warm = keys.warm_up(found, COLD, 1)
    assert not {next(warm) for _ in range(500)} & set(cold)
    hot = keys.order(found, HOT, 1)
    assert sorted(next(hot) for _ in range(1000)) == list(range(1000))
    zipf = keys.order(found, ZIPF, 1)
    drawn = [next(zipf) for _ in range(20_000)]
    # The first is asked for twice as often as the second, and so on: 1 / 2**0.99.
    first, second = drawn.count(0), drawn.count(1)
    assert first / second == pytest.approx(2**0.99, rel=0.1)
    assert first / len(drawn) == pytest.approx(
        1 / sum(rank**-0.99 for rank in range(1, 2001)), rel=0.1
    )
    # Each arm of a round is asked the same.
    again = keys.order(found, ZIPF, 1)
    assert [next(again) for _ in range(100)] == drawn[:100]


def test_cores() -> None:
    assert Cores.of([3]).all == [3]
    two = Cores.of([0, 1])
    assert (two.server, two.load, two.databases) == (0, 1, {1})
    four = Cores.of([0, 1, 2, 3])
    assert (four.server, four.load, four.databases) == (0, 1, {2, 3})


def test_commands_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for parser in (command.parser(), app.parser()):
        with pytest.raises(SystemExit):
            parser.parse_args(["--no-such-option"])
    assert "usage: lab" in capsys.readouterr().err
