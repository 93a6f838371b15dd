"""Make the pages that show figures from the files in which the figures are.

README.md at the root has a block between two comments, and a chart. Run it after figures were
published: `python -m bench.readme`.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from statistics import median

from bench import chart, report
from bench.report import Round

_ROOT = Path(__file__).resolve().parents[1]
_README = _ROOT / "README.md"
_OURS, _BEGIN, _END = "hlfast", "<!-- figures: python -m bench.readme -->\n", "<!-- end -->"


def pages() -> dict[Path, str]:
    """Each file that is made, as it should be."""
    figures = report.published("compare")
    return {
        _README: _with_block(_README.read_text(encoding="utf-8"), _headline(figures)),
        report.published_file("compare.svg"): _compare_chart(figures),
    }


def _rounds(figures: report.Published) -> list[Round]:
    return [Round(**one) for one in figures["figures"]]


def _headline(figures: report.Published) -> str:
    """The root README's paragraph: what stands beside the chart."""
    rounds, facts = _rounds(figures), figures["facts"]
    scenarios = [
        one for one in dict.fromkeys(each.scenario for each in rounds) if "static" not in one
    ]
    times = [
        report.ratios(rounds, _OURS, "FastAPI", scenario)["requests_per_s"].median
        for scenario in scenarios
    ]
    return (
        "![Requests per second on one core: hlfast, Go, Fastify and FastAPI]"
        f"({report.link('compare.svg', _README)})\n\n"
        f"Requests per second of one server process on one core, with PostgreSQL "
        f"{facts['PostgreSQL']} and {facts['users']} users: {min(times):.0f} to "
        f"{max(times):.0f} times those of FastAPI with SQLAlchemy. Taken on "
        f"{facts['date'].split()[0]} on a {facts['machine']}; "
        "[method, and the figures behind it](bench/README.md#compare).\n"
    )


def _compare_chart(figures: report.Published) -> str:
    rounds = _rounds(figures)
    groups: dict[str, dict[str, float]] = {}
    for one in rounds:
        if one.server != "static":
            of_server = [
                each.requests_per_s
                for each in rounds
                if (each.scenario, each.server) == (one.scenario, one.server)
            ]
            groups.setdefault(one.scenario, {})[one.server] = median(of_server)
    return chart.bars("Requests per second on one core", _OURS, groups)


def _with_block(text: str, block: str) -> str:
    found = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
    made, count = found.subn(lambda _: _BEGIN + block + _END, text)
    if count != 1:
        raise SystemExit(f"README.md has {count} blocks of figures, and should have one")
    return made


def main() -> None:
    """Write what is not as it should be, or with `--check` name it and exit with 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a page is old")
    check = parser.parse_args().check
    old = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in old:
        print(f"{'Old' if check else 'Written'}: {path.relative_to(_ROOT)}")
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
    raise SystemExit(1 if check and old else 0)


if __name__ == "__main__":
    main()
