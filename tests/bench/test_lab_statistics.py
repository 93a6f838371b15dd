"""The lab's intervals hold what they say, and chance alone makes a page speak but rarely."""

from __future__ import annotations

import math
import random

import pytest

from bench.lab import findings, inference
from bench.lab.arms import Kind
from bench.lab.catalog import chosen
from bench.lab.inference import CONFIDENCE, Effect
from bench.lab.workloads import Cell
from tests.bench import lab_runs

DRAWS = 300
ROUNDS = 6
# Three standard errors of a share that is 0.95, of so many draws.
SLACK = 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / DRAWS)


def heavy(chance: random.Random) -> float:
    """Student's t with 4 degrees of freedom: now and then a round is far off."""
    return chance.gauss(0, 1) / math.sqrt(sum(chance.gauss(0, 1) ** 2 for _ in range(4)) / 4)


SHAPES = {
    "normal": lambda chance: chance.gauss(0.1, 0.03),
    "even": lambda chance: chance.uniform(-0.1, 0.3),
    "heavy": lambda chance: 0.1 + 0.03 * heavy(chance),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rounds", [6, 12])
def test_an_interval_holds_the_mean_as_often_as_it_says(shape: str, rounds: int) -> None:
    chance = random.Random(5)
    held = 0
    for seed in range(DRAWS):
        sample = [SHAPES[shape](chance) for _ in range(rounds)]
        low, high = inference.bootstrap(sample, seed, resamples=250)
        held += low <= 0.1 <= high
    assert abs(held / DRAWS - CONFIDENCE) <= SLACK + 0.01


def test_intervals_of_skewed_rounds_are_not_far_off() -> None:
    """Half of the rounds' noise comes from whoever disturbs, and only makes them slower."""
    chance = random.Random(6)
    held = 0
    for seed in range(DRAWS):
        sample = [chance.expovariate(1) for _ in range(12)]
        low, high = inference.bootstrap(sample, seed, resamples=250)
        held += low <= 1 <= high
    assert held / DRAWS > 0.88


@pytest.mark.parametrize(
    ("share", "freedom", "quantile"),
    # From tables of Student's t.
    [(0.975, 5, 2.5706), (0.975, 11, 2.2010), (0.995, 9, 3.2498), (0.9995, 5, 6.8688)],
)
def test_quantiles(share: float, freedom: int, quantile: float) -> None:
    assert inference.t_quantile(share, freedom) == pytest.approx(quantile, abs=1e-4)
    assert inference.t_below(quantile, freedom) == pytest.approx(share, abs=1e-5)


def effects(
    chance: random.Random, count: int, mean: float = 0.0, rounds: int = ROUNDS
) -> list[Effect]:
    """Of so many comparisons, each of a few rounds."""
    samples = [[chance.gauss(mean, 0.02) for _ in range(rounds)] for _ in range(count)]
    return [inference.effect(sample, resamples=100) for sample in samples]


def test_alone_one_in_twenty_speaks_though_nothing_differs() -> None:
    p = [one.p for one in effects(random.Random(7), DRAWS)]
    assert abs(sum(one < 0.05 for one in p) / DRAWS - 0.05) <= SLACK
    assert 0.44 < sum(p) / DRAWS < 0.56


def test_a_page_on_which_nothing_differs_speaks_once_in_twenty() -> None:
    chance = random.Random(8)
    pages = [inference.verdicts(effects(chance, 10)) for _ in range(60)]
    assert sum(any(one.is_seen for one in page) for page in pages) <= 7


def test_what_a_verdict_says_would_have_been_seen_is() -> None:
    """Nine times in ten, by the same correction as the page's."""
    chance = random.Random(9)
    quiet = effects(chance, 20, rounds=12)
    seeable = sorted(one.seeable for one in inference.verdicts(quiet) if not one.is_seen)[10]
    loud = effects(chance, 60, mean=seeable, rounds=12)
    seen = sum(inference.verdicts([*quiet[1:], one])[-1].is_seen for one in loud)
    assert 0.75 * len(loud) <= seen < len(loud)


def test_holms_correction() -> None:
    """By hand: the smallest times its place from the end, none below the one before."""
    p = [0.01, 0.04, 0.03, 0.005]
    found = inference.verdicts([Effect(1, 0.5, 1.5, 0.2, one, 6) for one in p])
    assert [one.p for one in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [one.is_seen for one in found] == [True, False, False, True]


def test_words_of_a_verdict() -> None:
    seen = inference.verdicts([Effect(*map(math.log, (1.38, 1.33, 1.44)), 0.01, 1e-6, 12)])[0]
    assert str(seen) == "+38 % [33, 44]"
    slower = inference.verdicts([Effect(*map(math.log, (0.7, 0.68, 0.714)), 0.01, 1e-6, 12)])[0]
    assert str(slower) == "−30 % [−32, −29]"
    none = inference.verdicts([Effect(0.001, -0.02, 0.02, 0.0112, 0.9, 12)])[0]
    assert str(none) == "no difference seen, one above 4.1 % would have been"


def test_too_much_noise_names_no_effect() -> None:
    loud = inference.verdicts([inference.effect([-3.0, 3.0, 0.5], resamples=100)])[0]
    assert str(loud) == "no difference seen, in too much noise to see any"


def test_less_than_three_rounds_say_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        inference.effect([0.1, 0.2])


def test_known_costs_come_out_as_gains_whatever_a_round_drifts() -> None:
    arms = chosen(["usual", "uvloop", "httptools"], is_quick=True)
    costs = {"usual": 200.0, "uvloop": 100.0, "httptools": 100.0, "again": 100.0}
    windows = lab_runs.windows(costs, [Cell("user", "zipf")], rounds=12)
    found = {one.methods: one for one in findings.comparisons(windows, arms)}
    faster, same, twice = found["uvloop",], found["httptools",], found["nothing",]
    assert faster.verdict.is_seen and faster.kind is Kind.LADDER
    assert math.expm1(faster.verdict.effect.mean) == pytest.approx(1, abs=0.03)
    assert not same.verdict.is_seen and not twice.verdict.is_seen and twice.kind is Kind.SAME
    assert [one.methods for one in findings.best(list(found.values()))] == [("uvloop",)]


def test_a_method_that_is_left_out_counts_as_what_it_brings() -> None:
    arms = chosen(["batch-scheduling", "without-frozen-gc"], is_quick=True)
    costs = {"batch-scheduling": 100.0, "without-frozen-gc": 125.0, "again": 100.0}
    windows = lab_runs.windows(costs, [Cell("user", "zipf")], rounds=8)
    one = next(x for x in findings.comparisons(windows, arms) if x.kind is Kind.LEFT_OUT)
    assert (one.with_arm, one.without_arm) == ("batch-scheduling", "without-frozen-gc")
    assert math.expm1(one.verdict.effect.mean) == pytest.approx(0.25, abs=0.02)
