"""Windows as they are measured, in a file that the next run goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench.lab.window import Window


class Journal:
    """`rounds.jsonl` of a report's directory: a head, then a line for each window.

    One of another plan is put aside as `rounds-before.jsonl`, and so is one that is complete: it
    is never added to.
    """

    def __init__(
        self, directory: Path, fingerprint: str, rounds: int, windows_a_round: int
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "rounds.jsonl"
        self._windows_a_round = windows_a_round
        self.windows: list[Window] = []
        head = {"plan": fingerprint}
        if self.path.exists():
            found_head, found = _read(self.path)
            if found_head == head and len(self._whole(found)) < rounds:
                self.windows = found
                return
            self.path.rename(directory / "rounds-before.jsonl")
        self.path.write_text(json.dumps(head) + "\n")

    @property
    def rounds(self) -> set[int]:
        """The rounds that are whole."""
        return self._whole(self.windows)

    def forget_halves(self) -> None:
        """Drop rounds that were broken off: they are measured again, all arms at one time."""
        whole = self.rounds
        self.windows = [one for one in self.windows if one.round in whole]
        head = self.path.read_text().partition("\n")[0]
        lines = [json.dumps(asdict(one)) for one in self.windows]
        self.path.write_text("\n".join([head, *lines, ""]))

    def add(self, window: Window) -> None:
        """Keep it, whatever happens next."""
        self.windows.append(window)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(window)) + "\n")

    def _whole(self, windows: Iterable[Window]) -> set[int]:
        counts: dict[int, int] = {}
        for one in windows:
            counts[one.round] = counts.get(one.round, 0) + 1
        return {number for number, count in counts.items() if count == self._windows_a_round}


def _read(path: Path) -> tuple[dict[str, str], list[Window]]:
    """A line that was cut short, at the end, is none."""
    head, *lines = path.read_text().splitlines() or ["{}"]
    windows = []
    for line in lines:
        try:
            windows.append(Window(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return json.loads(head), windows
