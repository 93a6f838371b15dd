"""A Datasette of made-up towns. `python towns.py` makes the database."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from datasette.app import Datasette

FILE = Path(__file__).with_name("towns.db")
TOWNS = 5000


def make() -> None:
    """The same towns every time."""
    FILE.unlink(missing_ok=True)
    chance = random.Random(1)
    with sqlite3.connect(FILE) as database:
        database.execute(
            "CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT, region TEXT, people INTEGER)"
        )
        database.execute("CREATE INDEX town_region ON town (region)")
        rows = [
            (n, f"Town {n}", f"Region {n % 40}", chance.randrange(200, 900_000))
            for n in range(1, TOWNS + 1)
        ]
        database.executemany("INSERT INTO town VALUES (?, ?, ?, ?)", rows)


if __name__ == "__main__":
    make()
app = Datasette([str(FILE)]).app()
