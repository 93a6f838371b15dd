"""Flame graphs: where the time of a rung goes, as py-spy sees it beside the measured rounds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import load
from bench.lab import keys
from bench.lab.arms import Arm, Kind, Running, all_running
from bench.lab.cores import Cores
from bench.lab.plan import Plan
from bench.lab.workloads import Cell
from bench.lab.workplace import Workplace

SECONDS = 4
_RATE = 200
_WARM_UP_S = 0.5
_FILE = "flames.json"
# Stacks that are seen less often are left out of a page: a share of all samples.
_SHARE_MIN = 0.001
# What py-spy puts in front of the frames where it looks at several processes.
_HEADS = ("process ", "thread ")


@dataclass(frozen=True, slots=True)
class Flames:
    """Stacks by arm, from the outermost call inwards, joined by `;`, with how often each was seen.

    `why_not`: why there are none, empty where there are.
    """

    cell: str
    stacks: Mapping[str, Mapping[str, int]]
    why_not: str = ""


def arms_of(plan: Plan) -> list[Arm]:
    """The arms that are looked into: the first rung and the last, else of all arms."""
    ladder = [one for one in plan.arms if one.kind == Kind.LADDER]
    found = ladder or [one for one in plan.arms if one.kind != Kind.SAME]
    return [found[0], found[-1]] if len(found) > 1 else found


async def record(plan: Plan, cores: Cores, workplace: Workplace, directory: Path) -> None:
    """Look into the processes of both arms under load, and write what was seen to `directory`."""
    cell = next((one for one in plan.cells if one.population != keys.COLD), plan.cells[0])
    stacks: dict[str, dict[str, int]] = {}
    why_not = "" if _py_spy() else "py-spy is not installed"
    if not why_not:
        os.sched_setaffinity(0, set(cores.all))
        async with all_running(
            arms_of(plan), workplace.environment, cores.server, workplace.urls
        ) as running:
            os.sched_setaffinity(0, {cores.load})
            for name, one in running.items():
                try:
                    stacks[name] = await _stacks(plan, cell, one, workplace)
                except RuntimeError as error:
                    why_not = str(error)
                    break
    found = Flames(cell.title, {} if why_not else stacks, why_not)
    (directory / _FILE).write_text(json.dumps(asdict(found), indent=1) + "\n")


def read(directory: Path) -> Flames | None:
    """The stacks that were recorded in a directory, if any were."""
    path = directory / _FILE
    return Flames(**json.loads(path.read_text())) if path.exists() else None


def forget(directory: Path) -> None:
    """Delete the stacks of a run before."""
    (directory / _FILE).unlink(missing_ok=True)


def _py_spy() -> str | None:
    beside = str(Path(sys.executable).parent)
    return shutil.which("py-spy", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


async def _stacks(plan: Plan, cell: Cell, running: Running, workplace: Workplace) -> dict[str, int]:
    """The stacks of one arm under load. Raises RuntimeError if py-spy may not look, WrongAnswer."""
    sources = workplace.requests.sources(cell, plan.connections, 1, wrap=running.arm.wrap)
    with tempfile.TemporaryDirectory(prefix="lab-") as directory:
        path = Path(directory) / "stacks"
        words = ["record", "--pid", str(running.pid), "--subprocesses", "--format", "raw"]
        words += ["--function", "--rate", str(_RATE), "--duration", str(SECONDS)]
        looking = asyncio.create_task(_look([*words, "--output", str(path)]))
        try:
            await load.measure(
                running.port,
                sources,
                warm_up_s=_WARM_UP_S,
                seconds=SECONDS,
                mark=lambda: None,
            )
        finally:
            said = await looking
        if said or not path.exists():
            raise RuntimeError(f"py-spy may not look into other processes here: {said}")
        return folded(path.read_text())


async def _look(words: Sequence[str]) -> str:
    """Run py-spy; what it says if it fails, in a line."""
    process = await asyncio.create_subprocess_exec(
        _py_spy() or "",
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    _, said = await process.communicate()
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return (lines or ["it ended without a word"])[-1] if process.returncode else ""


def folded(text: str) -> dict[str, int]:
    """Stacks of py-spy's raw format without threads and processes, those seen often enough."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [one for one in stack.split(";") if not one.startswith(_HEADS)]
        if frames:
            key = ";".join(frames)
            found[key] = found.get(key, 0) + int(count)
    total = sum(found.values())
    return {stack: count for stack, count in found.items() if count >= total * _SHARE_MIN}
