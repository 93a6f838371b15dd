"""`python make_stations.py` makes the file of stations, the same every time."""

from __future__ import annotations

import csv
import random
from pathlib import Path

STATIONS = 300

with Path(__file__).with_name("stations.csv").open("w", newline="") as file:
    chance = random.Random(1)
    writer = csv.writer(file)
    writer.writerow(["id", "name", "lat", "lon"])
    for number in range(1, STATIONS + 1):
        place = round(chance.uniform(-80, 80), 4), round(chance.uniform(-170, 170), 4)
        writer.writerow([number, f"Station {number}", *place])
