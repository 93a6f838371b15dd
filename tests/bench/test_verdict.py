"""A verdict says slower or faster where the rounds say so, and nothing where chance may have."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import median

import pytest

from bench import verdict
from bench.report import Round
from bench.verdict import FASTER, NOTHING_SEEN, SLOWER, Verdict, interval

ROUND = Round(
    scenario="feed page",
    server="",
    number=1,
    requests=1000,
    requests_per_s=1000.0,
    server_cpu_us=300.0,
    postgres_cpu_us=200.0,
    p50_ms=1.0,
    p99_ms=5.0,
    server_busy=0.9,
    load_busy=0.1,
    others_on_server_core=0.0,
)


@pytest.mark.parametrize(
    ("ratios", "word", "is_worse"),
    [
        ([1.08, 1.07, 1.09, 1.10, 1.06, 1.08, 1.07], SLOWER, True),
        # Slower for certain, but not by so much.
        ([1.02, 1.03, 1.02, 1.04, 1.03, 1.02, 1.03], SLOWER, False),
        # Beyond the threshold on the whole, but not surely.
        ([1.08, 1.07, 1.09, 1.04, 1.06, 1.08, 1.07], SLOWER, False),
        ([1.30, 0.99, 1.20, 1.25, 1.15, 1.30, 1.10], NOTHING_SEEN, False),
        ([1.0] * 7, NOTHING_SEEN, False),
        ([0.98, 0.97, 0.99, 0.95, 0.96, 0.97, 0.98], FASTER, False),
    ],
)
def test_words(ratios: list[float], word: str, is_worse: bool) -> None:
    found = Verdict.of(ratios, 1.05)
    assert (found.word, found.is_worse) == (word, is_worse)
    assert found.median == median(ratios)
    assert str(found).startswith("**" if is_worse else word)


@pytest.mark.parametrize(
    ("rounds", "ends"),
    # From tables of the sign test: 1 to 6, 1 to 8, 2 to 8, 2 to 10, 3 to 10, 6 to 15.
    [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (11, (2, 10)), (12, (3, 10)), (20, (6, 15))],
)
def test_interval(rounds: int, ends: tuple[int, int]) -> None:
    ratios = [float(one) for one in range(1, rounds + 1)]
    random.Random(1).shuffle(ratios)
    assert interval(ratios) == ends


def test_interval_holds_the_median_as_often_as_it_says() -> None:
    chance = random.Random(1)
    held = 0
    for _ in range(2000):
        low, high = interval([chance.lognormvariate(0, 0.2) for _ in range(12)])
        held += low <= 1 <= high
    # For 12 it is 96.1 %.
    assert 0.95 < held / 2000 < 0.98


def test_too_few_rounds_give_no_verdict() -> None:
    with pytest.raises(ValueError, match="too few"):
        Verdict.of([2.0] * 5, 1.05)


def test_rounds_of_two_trees() -> None:
    """Each cost by itself, in the direction in which more is worse; other servers don't count."""
    rounds = []
    for number in range(1, 8):
        drift = 1 + number / 2
        theirs = replace(
            ROUND,
            number=number,
            server="HEAD",
            server_cpu_us=300 * drift,
            requests_per_s=1000 / drift,
        )
        ours = replace(
            theirs,
            server="hlfast",
            server_cpu_us=theirs.server_cpu_us * 1.1,
            requests_per_s=theirs.requests_per_s * 1.2,
        )
        rounds += [ours, theirs, replace(theirs, server="FastAPI", server_cpu_us=9.0)]
    found = verdict.of_rounds(rounds, "hlfast", "HEAD", 1.05)
    assert list(found) == ["feed page"]
    words = {name: one.word for name, one in found["feed page"].items()}
    assert words == {
        "server CPU per request": SLOWER,
        "time per request": FASTER,
        "p99": NOTHING_SEEN,
    }
    assert found["feed page"]["server CPU per request"].is_worse
    assert verdict.table(found, "hlfast", "HEAD")[2] == (
        "| feed page | **slower** 1.100 (1.100..1.100) | faster 0.833 (0.833..0.833) "
        "| no difference seen 1.000 (1.000..1.000) |"
    )
