"""Make the pages that show figures from the files in which the figures are.

bench/README.md is made from bench/README.in.md, bench/CAPACITY.md by bench.capacity. README.md at
the root has a block between two comments, and beside the published figures is a chart of them. Run
it after figures were published and after a template was changed: `python -m bench.readme`.

What a template may hold, a table or a heading on a line of its own:

    {{heading NAME}}         date, machine and versions, as the figures' file has them
    {{method NAME}}          how they were taken
    {{experiments}}          every experiment, its question and its line
    {{laboratory}}           what the published run of the laboratory shows, if there is one
    {{believed}}             the same of its proofs
    {{curves}}               the same of its curves
    {{frames}}               the same of frames to sockets
    {{foreign}}              the same of services that nobody here wrote
    {{table NAME NUMBER}}    a table; with columns='A; B' or rows=12 a part of it, with
                             'having=A: text' the rows whose cell has that text
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import capacity, chart, experiments, published, report
from bench.lab import catalog, handbook, keys
from bench.lab.report import laboratory
from bench.published import Figures, PublishedError, Table
from bench.report import Round

_ROOT = Path(__file__).resolve().parents[1]
_README, _PAGE = _ROOT / "README.md", _ROOT / "bench" / "README.md"
_METHODS = _PAGE.with_name("METHODS.md")
TEMPLATE = _PAGE.with_suffix(".in.md")
_OURS, _BEGIN, _END = "hlfast", "<!-- figures: python -m bench.readme -->\n", "<!-- end -->"
_OTHER_KEYS = {
    keys.COLD: "times where each key is asked for once",
    keys.HOT: "times where it is the same 1,000 again and again",
}
_DIRECTIVE = re.compile(r"\{\{(.*?)\}\}")


def pages() -> dict[Path, str]:
    """Each file that is made, as it should be. Raises PublishedError for a figure that is not."""
    figures = published.figures("compare")
    found = {
        _README: _with_block(_README.read_text(encoding="utf-8"), _headline(figures)),
        _PAGE: rendered(TEMPLATE.read_text(encoding="utf-8")),
        _PAGE.with_name("CAPACITY.md"): capacity.page(),
        published.file("compare.svg"): _compare_chart(figures),
    }
    if (report_of := laboratory.ladder()) is not None:
        found[_METHODS] = "\n".join(handbook.lines(report_of))
        found[published.file("lab/ladder.svg")] = laboratory.picture(report_of)
    if (curves_of := laboratory.curves()) is not None:
        found[published.file("lab-curves/curves.svg")] = laboratory.curves_picture(curves_of)
    return found


def rendered(template: str) -> str:
    """A template with its figures."""
    note = f"<!-- Made by `python -m bench.readme` from {TEMPLATE.name}: change that file. -->\n"
    made = _DIRECTIVE.sub(lambda found: _directive(found[1]), template)
    title, _, rest = made.partition("\n")
    return f"{title}\n\n{note}{rest}"


def _directive(text: str) -> str:
    words = shlex.split(text)
    match words:
        case ["heading", name]:
            return "\n".join(_heading(name))
        case ["method", name]:
            return published.figures(name)["method"]
        case ["experiments"]:
            return "\n".join(experiments.table())
        case ["laboratory"]:
            return laboratory.ladder_words(_PAGE)
        case ["believed"]:
            return laboratory.believed_words(_PAGE)
        case ["curves"]:
            return laboratory.curves_words(_PAGE)
        case ["frames"]:
            return laboratory.frames_words(_PAGE)
        case ["foreign"]:
            return laboratory.foreign_words()
        case ["table", name, number, *options]:
            return "\n".join(_part(published.table(name, int(number)), options).lines())
        case _:
            raise PublishedError(f"the template has {{{{{text}}}}}, which is no directive")


def _heading(name: str) -> list[str]:
    facts = published.figures(name)["facts"]
    if not facts.pop("recorded", ""):
        return report.heading(facts)
    recorded = f"[written down by hand]({published.link(f'recorded/{name}.json', _PAGE)})."
    versions = [f"{key} {value}" for key, value in facts.items() if key not in ("date", "machine")]
    return ["; ".join([facts["date"], facts["machine"], *versions, recorded])]


def _part(table: Table, options: list[str]) -> Table:
    for option in options:
        name, _, value = option.partition("=")
        match name:
            case "columns":
                table = table.with_columns(value.split("; "))
            case "rows":
                table = Table(table.columns, table.rows[: int(value)])
            case "having":
                table = table.having(*value.split(": ", 1))
            case _:
                raise PublishedError(f"a table of the template has the option {option}")
    return table


def _rounds(figures: Figures) -> list[Round]:
    return [Round(**one) for one in figures["figures"]]


def _shown_keys(rounds: Sequence[Round]) -> str:
    """The population of keys that the headline is of: Zipf's, wherever it was asked for."""
    return keys.ZIPF if any(one.keys == keys.ZIPF for one in rounds) else ""


def _times(rounds: Sequence[Round], population: str) -> str:
    """`15 to 36`: how many times FastAPI's requests per second, over all scenarios."""
    labels = dict.fromkeys(one.label for one in rounds if one.keys in (population, ""))
    spreads = (
        report.ratios(rounds, _OURS, "FastAPI", label).get("requests_per_s") for label in labels
    )
    times = [one.median for one in spreads if one]
    return f"{min(times):.0f} to {max(times):.0f}"


def _headline(figures: Figures) -> str:
    """The root README's paragraph: what stands beside the chart."""
    rounds, facts = _rounds(figures), figures["facts"]
    population = _shown_keys(rounds)
    asked = (
        "1,000 distinct requests of each kind among {users} users, so that most answers are in the "
        "response cache.\n"
    )
    if population:
        others = " and ".join(
            f"{_times(rounds, one)} {words}"
            for one, words in _OTHER_KEYS.items()
            if any(each.keys == one for each in rounds)
        )
        asked = "Keys are as popular as Zipf's law has it, among {users} users"
        asked += f"; it is {others}.\n" if others else ".\n"
    return (
        "![Requests per second on one core: hlfast, Go, Fastify and FastAPI]"
        f"({published.link('compare.svg', _README)})\n\n"
        f"Requests per second of one server process on one core: {_times(rounds, population)} "
        "times those of FastAPI with SQLAlchemy.\n"
        f"{asked.format(users=facts['users'])}"
        f"{facts['date'].split()[0]}, {facts['machine']}, PostgreSQL {facts['PostgreSQL']}; "
        "[the method, and all figures](bench/README.md#compare).\n"
        f"{laboratory.headline(_README)}"
    )


def _compare_chart(figures: Figures) -> str:
    rounds = [one for one in _rounds(figures) if one.server not in ("static", catalog.AGAIN)]
    population = _shown_keys(rounds)
    groups: dict[str, dict[str, float]] = {}
    for one in rounds:
        if one.keys not in (population, ""):
            continue
        groups.setdefault(one.scenario, {})[one.server] = median(
            each.requests_per_s
            for each in rounds
            if (each.label, each.server) == (one.label, one.server)
        )
    return chart.bars("Requests per second on one core", _OURS, groups)


def _with_block(text: str, block: str) -> str:
    found = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
    made, count = found.subn(lambda _: _BEGIN + block + _END, text)
    if count != 1:
        raise PublishedError(f"README.md has {count} blocks of figures, and should have one")
    return made


def main() -> None:
    """Write what is not as it should be, or with `--check` name it and exit with 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a page is old")
    check = parser.parse_args().check
    made = pages()
    old = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in old:
        print(f"{'Old' if check else 'Written'}: {path.relative_to(_ROOT)}")
        if not check:
            path.write_text(made[path], encoding="utf-8")
    raise SystemExit(1 if check and old else 0)


if __name__ == "__main__":
    main()
