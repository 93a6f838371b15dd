"""Bounded structures: what is used stays, the bound holds, and it is memory that is counted."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from random import Random

import pytest

from bench.bounded import CASES, GROWTH_MAX, hot_after_crawl
from hl_utils.servers.process import ROOT
from hlfast.bounded import Bounded
from hlfast.events.cursor import Cursor
from hlfast.events.log import Position
from hlfast.live.event import Event
from hlfast.live.history import History


def test_the_bound_holds_over_a_random_walk() -> None:
    chance = Random(7)
    values: Bounded[int, str] = Bounded(500)
    newest: dict[int, str] = {}
    for step in range(20_000):
        key = chance.randrange(300)
        match chance.randrange(8):
            case 0:
                values.pop(key)
                newest.pop(key, None)
                assert values.get(key) is None
            case 1 | 2 | 3:
                value = values.get(key)
                assert value is None or value == newest[key]
            case _:
                newest[key] = f"{key}-{step}"
                values.put(key, newest[key], chance.choice((1, 1, 2, 7, 60)))
        assert values.weight == sum(entry.weight for entry in values.entries.values()) <= 500
        # Each key is queued once, and no more.
        assert len(values._ahead) + len(values._passed) == len(values.entries)
    assert len(values.entries) > 10


def test_what_is_taken_away_and_set_again_is_queued_once() -> None:
    values: Bounded[int, str] = Bounded(10)
    for number in range(1000):
        values.put(1, "x")
        values.pop(1)
        values.pop(number + 100)
    assert len(values._ahead) + len(values._passed) == len(values.entries) == 1


def test_when_all_were_used_one_goes_and_the_rest_stay() -> None:
    values: Bounded[int, str] = Bounded(1000)
    for number in range(3000):
        values.put(number, "x")
        values.get(number)
        assert values.weight <= 1000
    assert sum(values.get(number) is not None for number in range(3000)) == 1000


def test_what_is_too_heavy_throws_nothing_out() -> None:
    values: Bounded[int, str] = Bounded(10)
    for number in range(10):
        values.put(number, "x")
    values.put(99, "x", 11)
    assert [values.get(number) for number in range(10)] == ["x"] * 10
    values.put(5, "y", 11)
    # Nor is what it was before shown for it.
    assert values.get(5) is None and values.get(99) is None


def test_nothing_is_stored_where_nothing_may_be() -> None:
    values: Bounded[int, str] = Bounded(0)
    values.put(1, "x")
    assert values.get(1) is None and not values.entries


def test_a_crawl_leaves_what_is_hot() -> None:
    assert hot_after_crawl(2 << 20, 20_000) == 1000


@pytest.mark.parametrize("case", CASES)
def test_a_process_grows_by_what_it_was_allowed(case: str) -> None:
    """In a process of its own: the memory of others is in the way."""
    program = (
        "import sys; from bench.bounded import walk; "
        "one = walk(sys.argv[1], 8 << 20, 1); print(one.growth, one.entries)"
    )
    command = [sys.executable, "-c", program, case]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    growth, entries = done.stdout.split()
    assert float(growth) <= GROWTH_MAX
    assert int(entries) > 1000


def _from_the_front(tree: ast.AST) -> Iterator[int]:
    """Lines that take the first of a list or dict away, which costs what is behind or before it."""
    for one in ast.walk(tree):
        text = ast.unparse(one) if isinstance(one, ast.Delete | ast.Call) else ""
        if re.fullmatch(
            r"del .*(\[0\]|next\(iter\(.*)|.*\.pop\(0\)|.*(pop|drop)\(next\(iter\(.*", text
        ):
            yield one.lineno


@pytest.mark.parametrize("folder", ["hlfast", "hl_utils"])
def test_nothing_is_taken_from_the_front_of_a_list_or_dict(folder: str) -> None:
    for source in ("del x[0]", "x.pop(0)", "del x[next(iter(x))]", "self._drop(next(iter(x)))"):
        assert list(_from_the_front(ast.parse(source)))
    for path in (ROOT / folder).rglob("*.py"):
        lines = list(_from_the_front(ast.parse(path.read_text(encoding="utf-8"))))
        assert not lines, (
            f"{path}:{lines}: a bounded.Bounded, a deque or an OrderedDict can do that"
        )


def test_the_tail_of_one_author_is_the_newest_of_it() -> None:
    history = History(events_max=100, bytes_max=1 << 30, age_max_s=1e9)
    for number in range(1, 1001):
        cursor = Cursor(Position("e", number), 0)
        author = 1 if number % 3 else 2
        event = Event(history.next_seq(), f"o{number}", cursor.text(), 10, author=author)
        history.append(event, cursor)
        oldest = max(1, history.seq - len(history) + 1)
        for who in (1, 2):
            there = [one.seq for one in history.of_author(who, oldest - 1)]
            # They count on from the reset, which took the first number.
            assert there == [
                seq
                for seq in range(oldest, history.seq + 1)
                if seq > 1 and ((seq - 1) % 3 > 0) == (who == 1)
            ]
    assert len(history) == 100
    half = history.seq - 50
    between = [one.seq for one in history.of_author(1, half, history.seq - 10)]
    assert between == [s for s in range(half + 1, history.seq - 9) if (s - 1) % 3]
