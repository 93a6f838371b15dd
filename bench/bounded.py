"""What the bounded structures cost, and hold, far beyond their bounds.

    python -m bench.bounded [--mib 64] [--times 4] [--publish]

Each structure, in a process of its own, is given several times what it may hold: CPU time of a put
while it fills and once it is full, and by how much the process has grown. Then what a crawl leaves
of a thousand answers that were asked for before. The exit status is 1 if a process grew by more
than 1.5 times what was allowed, or lost a hot answer to the crawl.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench import report
from hlfast import codec, frames
from hlfast.bounded import Bounded
from hlfast.events.cursor import Cursor
from hlfast.events.log import Position
from hlfast.live.event import Event, read
from hlfast.live.history import History
from hlfast.response_cache import ResponseCache

GROWTH_MAX = 1.5
_HOT = 1000
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_USER = {
    "id": 0, "username": "user-1", "first_name": "Ada", "last_name": "Lovelace",
    "birthdate": None, "bio": None, "city": "London", "country": "England",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """CPU times of a put in microseconds, memory in bytes. `bytes_max` 0: it is a count."""

    name: str
    puts: int
    entries: int
    filling_us: float
    full_us: float
    bytes_max: int
    grown_bytes: int

    @property
    def growth(self) -> float:
        """Growth of the process, as a multiple of what was allowed."""
        return self.grown_bytes / self.bytes_max if self.bytes_max else 0.0


# Puts one thing more; how many are there.
Put = tuple[Callable[[int], None], Callable[[], int]]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_SIZE


def _user(number: int) -> bytes:
    return codec.encode({**_USER, "id": number})


def _users(bytes_max: int) -> Put:
    bodies = ResponseCache(bytes_max)
    return lambda number: bodies.put(number, 1, _user(number)), bodies.__len__


def _pages(bytes_max: int) -> Put:
    bodies, chance = ResponseCache(bytes_max), Random(1)

    def put(number: int) -> None:
        users = [number * 20 + one for one in range(chance.randrange(20))]
        key = ("user_find_by_first", (f"anna{number}", f"annb{number}", 0, 20))
        version = ",".join(f"{user}:{chance.randrange(9)}" for user in users)
        bodies.put(key, version, codec.page_of([_user(user) for user in users], None))

    return put, bodies.__len__


def _seen_once(bytes_max: int) -> Put:
    bodies = ResponseCache(bytes_max)
    return lambda number: bodies.put_again((number << 32, None, None, 20), 1, b""), bodies.__len__


def _remembered(_: int) -> Put:
    """Fill a dictionary as one of tokens is: by headers of 200 bytes."""
    tokens: Bounded[bytes, tuple[int, float]] = Bounded(65_536)
    return lambda number: tokens.put(b"%0200d" % number, (number, 1.0)), tokens.entries.__len__


def _tail(body: Callable[[int], dict[str, Any]]) -> Callable[[int], Put]:
    def made(bytes_max: int) -> Put:
        history = History(events_max=1 << 30, bytes_max=bytes_max, age_max_s=1e9)

        def put(number: int) -> None:
            cursor = Cursor(Position("0123456789abcdef", number), 0)
            event: Event = read(body(number), history.next_seq(), cursor.text(), frames)
            history.append(event, cursor)

        return put, history.__len__

    return made


def _post(number: int, author: int) -> dict[str, Any]:
    post = {"id": number, "author_id": author, "content": "x" * 100, "privacy": "public"}
    return {"id": f"o{number}", "type": "post.created", "author": author, "data": {"post": post}}


def _message(number: int) -> dict[str, Any]:
    message = {"id": number, "content": "x" * 100}
    to = [2 * number + 1000, 2 * number + 1001]
    data = {"message": message}
    return {"id": f"d{number}-1", "type": "message.created", "to": to, "data": data}


CASES: dict[str, Callable[[int], Put]] = {
    "cached answers: users": _users,
    "cached answers: pages of a search": _pages,
    "cached answers: asked for once": _seen_once,
    "verified tokens, 65,536": _remembered,
    "history: posts of one author": _tail(lambda number: _post(number, 7)),
    "history: posts of as many authors": _tail(lambda number: _post(number, number + 1)),
    "history: messages": _tail(_message),
}


def _timed(put: Callable[[int], None], numbers: Iterator[int], count: int) -> float:
    """CPU microseconds of one call."""
    begun = time.process_time()
    for number in itertools.islice(numbers, count):
        put(number)
    return (time.process_time() - begun) / count * 1e6


def walk(name: str, bytes_max: int, times: int) -> Figure:
    """One structure in this process, which should be a new one."""
    put, count = CASES[name](bytes_max)
    numbers = itertools.count()
    before = _resident_bytes()
    filling: list[float] = []
    entries = -1
    # Some hold a few entries less when they are full, as these are not all alike.
    while entries < count() * 0.999:
        entries = count()
        filling.append(_timed(put, numbers, 2000))
    beyond = entries * times
    full_us = _timed(put, numbers, beyond)
    return Figure(
        name,
        len(filling) * 2000 + beyond,
        count(),
        sum(filling) / len(filling),
        full_us,
        0 if name == "verified tokens, 65,536" else bytes_max,
        _resident_bytes() - before,
    )


def hot_after_crawl(bytes_max: int, pages: int) -> int:
    """How many of the hot answers are there when so many others were asked for once each."""
    bodies = ResponseCache(bytes_max)
    for _ in range(2):
        for number in range(_HOT):
            if bodies.get(number, 1) is None:
                bodies.put(number, 1, _user(number))
    for number in range(_HOT, _HOT + pages):
        bodies.put(number, 1, _user(number))
    return sum(bodies.get(number, 1) is not None for number in range(_HOT))


def main() -> int:
    """Measure each structure, print the table and write the results; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=64, help="what each may hold")
    parser.add_argument("--times", type=int, default=4, help="so often what fits is put beyond it")
    report.add_out(parser, "bounded")
    options = parser.parse_args()
    bytes_max = options.mib << 20
    figures: list[Figure] = []
    for name in CASES:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            figures.append(process.apply(walk, (name, bytes_max, options.times)))
    pages = figures[0].puts
    hot = hot_after_crawl(bytes_max, pages)
    lines = [
        "| | puts | held at last | put while filling, µs | put when full, µs | process / allowed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in figures:
        growth = f"{one.growth:.2f}" if one.bytes_max else f"{one.grown_bytes / 2**20:.0f} MiB"
        lines.append(
            f"| {one.name} | {one.puts:,} | {one.entries:,} | {one.filling_us:.2f} "
            f"| {one.full_us:.2f} | {growth} |"
        )
    lines += ["", f"Of {_HOT:,} hot answers a crawl of {pages:,} pages left {hot:,}."]
    method = (
        f"{options.mib} MiB each, {options.times} times as much put beyond it; a put includes the "
        "making of what is put. CPU time; growth of the resident process."
    )
    report.write(options.out, report.machine(), method, lines, [asdict(one) for one in figures])
    print(options.out.with_suffix(".md").read_text())
    return 0 if hot == _HOT and all(one.growth <= GROWTH_MAX for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
