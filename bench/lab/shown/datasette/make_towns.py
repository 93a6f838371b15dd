"""`python make_towns.py` makes the database of towns, the same every time."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

TOWNS = 5000

file = Path(__file__).with_name("towns.db")
file.unlink(missing_ok=True)
chance = random.Random(1)
with sqlite3.connect(file) as database:
    database.execute(
        "CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT, region TEXT, people INTEGER)"
    )
    database.execute("CREATE INDEX town_region ON town (region)")
    rows = [
        (number, f"Town {number}", f"Region {number % 40}", chance.randrange(200, 900_000))
        for number in range(1, TOWNS + 1)
    ]
    database.executemany("INSERT INTO town VALUES (?, ?, ?, ?)", rows)
