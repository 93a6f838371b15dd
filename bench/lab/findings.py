"""From windows to comparisons: what each method brings, in each cell, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.lab import inference
from bench.lab.arms import Arm, Kind
from bench.lab.catalog import methods_of
from bench.lab.inference import Effect, Verdict
from bench.lab.window import Window
from bench.lab.workloads import Cell

# Less of the first is better, more of the second.
CPU, THROUGHPUT = "CPU per request", "requests per second"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm with a method beside one without, in one cell. Verdicts by measure.

    `pairs`: what each round measured, the arm with the method first: CPU in microseconds.
    """

    kind: Kind
    methods: tuple[str, ...]
    with_arm: str
    without_arm: str
    cell: Cell
    verdicts: Mapping[str, Verdict]
    pairs: tuple[tuple[float, float], ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict on CPU per request, which all else follows."""
        return self.verdicts[CPU]


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of an arm's windows in one cell."""

    arm: str
    cell: Cell
    cpu_us: float
    database_cpu_us: float
    per_s: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    load_busy: float
    others: float


def comparisons(windows: Sequence[Window], arms: Sequence[Arm]) -> list[Comparison]:
    """Every comparison of two arms, in every cell, with Holm's correction over all.

    Those with too few rounds are left out.
    """
    by_key = {(one.arm, one.workload, one.population, one.round): one for one in windows}
    cells = list(dict.fromkeys(Cell(one.workload, one.population) for one in windows))
    rounds = sorted({one.round for one in windows})
    methods = methods_of(arms)
    drafts: list[tuple[Arm, Cell, list[tuple[Window, Window]]]] = []
    for arm in arms:
        if arm.without is None:
            continue
        has, lacks = (arm.without, arm.name) if arm.is_removal else (arm.name, arm.without)
        for cell in cells:
            keys = [(cell.workload, cell.population, number) for number in rounds]
            pairs = [
                (by_key[has, *key], by_key[lacks, *key])
                for key in keys
                if (has, *key) in by_key and (lacks, *key) in by_key
            ]
            if len(pairs) >= inference.ROUNDS_MIN:
                drafts.append((arm, cell, pairs))
    effects = [_effects(pairs) for _, _, pairs in drafts]
    # All that the page says at once.
    every = inference.verdicts([one[measure] for measure in (CPU, THROUGHPUT) for one in effects])
    verdicts = {CPU: every[: len(effects)], THROUGHPUT: every[len(effects) :]}
    return [
        Comparison(
            arm.kind,
            tuple(methods[arm.name]),
            pairs[0][0].arm,
            pairs[0][1].arm,
            cell,
            {measure: found[n] for measure, found in verdicts.items()},
            tuple((a.cpu_us, b.cpu_us) for a, b in pairs),
        )
        for n, (arm, cell, pairs) in enumerate(drafts)
    ]


def _effects(pairs: Sequence[tuple[Window, Window]]) -> dict[str, Effect]:
    return {
        CPU: inference.effect([math.log(b.cpu_us / a.cpu_us) for a, b in pairs]),
        THROUGHPUT: inference.effect([math.log(a.per_s / b.per_s) for a, b in pairs]),
    }


def figures(windows: Sequence[Window]) -> list[Figures]:
    """Medians, in the order in which arms and cells first came."""
    found: dict[tuple[str, Cell], list[Window]] = {}
    for one in windows:
        found.setdefault((one.arm, Cell(one.workload, one.population)), []).append(one)

    def middle(of: Sequence[Window], value: Callable[[Window], float]) -> float:
        return median(map(value, of))

    return [
        Figures(
            arm,
            cell,
            middle(of, lambda one: one.cpu_us),
            middle(of, lambda one: one.database_cpu_us),
            middle(of, lambda one: one.per_s),
            middle(of, lambda one: one.p50_ms),
            middle(of, lambda one: one.p99_ms),
            middle(of, lambda one: one.memory_mb),
            middle(of, lambda one: one.load_busy),
            middle(of, lambda one: one.others),
        )
        for (arm, cell), of in found.items()
    ]


def not_settled(windows: Sequence[Window]) -> float:
    """How much more a request cost in the first half of the windows than in the second: median."""
    ratios = [one.first_half_us / one.second_half_us for one in windows if one.second_half_us]
    return median(ratios) - 1 if ratios else 0.0


@dataclass(frozen=True, slots=True)
class Best:
    """A method's gain over all cells: the mean of its log ratios, and where it is seen."""

    methods: tuple[str, ...]
    effect: Effect
    seen: int
    cells: int


def best(
    found: Sequence[Comparison], kinds: Sequence[Kind] = (Kind.LADDER, Kind.ADVISED)
) -> list[Best]:
    """Methods by what they bring over all cells, the most first; only what is surely a gain."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for one in found:
        if one.kind in kinds:
            groups.setdefault(one.methods, []).append(one)
    gains = []
    for methods, each in groups.items():
        rounds = list(zip(*(one.pairs for one in each), strict=False))
        ratios = [math.fsum(math.log(b / a) for a, b in one) / len(one) for one in rounds]
        seen = sum(one.verdict.is_seen and one.verdict.effect.mean > 0 for one in each)
        if seen:
            gains.append(Best(methods, inference.effect(ratios), seen, len(each)))
    return sorted(gains, key=lambda one: -one.effect.mean)


@dataclass(frozen=True, slots=True)
class Interaction:
    """A switch both ways: what it brings on the ladder less what leaving it out of ours takes."""

    method: str
    cell: Cell
    added: Verdict
    left_out: Verdict
    low: float
    high: float


def interactions(found: Sequence[Comparison]) -> list[Interaction]:
    """The interaction of every switch that was measured alone in both ways, with its interval."""
    added = {(one.methods, one.cell): one for one in found if one.kind == Kind.LADDER}
    result = []
    for one in found:
        other = added.get((one.methods, one.cell))
        if one.kind != Kind.LEFT_OUT or other is None:
            continue
        differences = [
            math.log(b / a) - math.log(d / c)
            for (a, b), (c, d) in zip(other.pairs, one.pairs, strict=False)
        ]
        low, high = inference.bootstrap(differences, seed=1)
        result.append(Interaction(one.methods[0], one.cell, other.verdict, one.verdict, low, high))
    return result
