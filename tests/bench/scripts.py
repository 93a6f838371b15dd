"""Every script of bench/ that is run by `python -m`, and what it makes of a command line."""

from __future__ import annotations

import argparse
import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
# Scripts start them, with arguments of no parser: nobody else does.
PARTS = {"bench.counted", "bench.live.prober", "bench.lab.foreign.launch"}


@cache
def sources() -> dict[str, ast.Module]:
    """The syntax trees of bench/'s own modules, by their names."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(BENCH.rglob("*.py"))
        if not {"node_modules", "__pycache__"} & set(path.parts)
    }


@cache
def scripts() -> list[str]:
    """What follows `python -m`."""
    found = {
        name.removesuffix(".__main__")
        for name, tree in sources().items()
        if name.endswith(".__main__")
        or any(isinstance(one, ast.If) and "__name__" in ast.unparse(one.test) for one in tree.body)
    }
    return sorted(found - PARTS)


class Parsed(Exception):
    """A script has parsed its command line, and goes no further."""


def options(script: str, *argv: str) -> argparse.Namespace:
    """What the script's own parser makes of them. Raises SystemExit as it does."""
    parse = argparse.ArgumentParser.parse_args
    found: list[argparse.Namespace] = []

    def stop(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        found.append(parse(parser))
        raise Parsed

    is_package = (ROOT / script.replace(".", "/")).is_dir()
    module = importlib.import_module(f"{script}.__main__" if is_package else script)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr("sys.argv", [script, *argv])
        module.main()
    return found[0]
