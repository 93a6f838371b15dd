"""A run as JSON: each comparison with names, rounds, ratio, interval, verdict; all windows."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from bench.lab.findings import Comparison
from bench.lab.inference import Verdict
from bench.lab.results import Results


def text(results: Results) -> str:
    """The document. A ratio is what a request costs without the method over what it does with."""
    found = {
        "facts": results.facts,
        "method": " ".join(results.words),
        **summary(results),
        "arms": [{**asdict(one), "cell": str(one.cell)} for one in results.figures],
        "flames": None if results.flames is None else asdict(results.flames),
        "windows": [asdict(one) for one in results.windows],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def summary(results: Results) -> dict[str, Any]:
    """What every file of results holds, whichever experiment it is of."""
    return {
        "not_to_be_published": results.warnings(),
        "noise": asdict(results.noise),
        "rounds": results.rounds,
        "comparisons": [comparison(one) for one in results.comparisons],
    }


def comparison(one: Comparison) -> dict[str, Any]:
    """A comparison of two arms."""
    return {
        "kind": one.kind,
        "methods": one.methods,
        "with": one.with_arm,
        "without": one.without_arm,
        "workload": one.cell.workload,
        "keys": one.cell.population,
        "measures": {name: measure(found) for name, found in one.verdicts.items()},
        "rounds": [{"with_us": a, "without_us": b} for a, b in one.pairs],
    }


def measure(found: Verdict) -> dict[str, Any]:
    """What a comparison says of one measure. Its ratio is above 1 where the method is better."""
    effect = found.effect
    return {
        "ratio": math.exp(effect.mean),
        "interval": [math.exp(effect.low), math.exp(effect.high)],
        "rounds": effect.rounds,
        "p": found.p,
        "verdict": str(found),
    }
