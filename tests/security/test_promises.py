"""SECURITY.md: each promise names tests, and they are there."""

from __future__ import annotations

import re

from hl_utils.servers.process import ROOT


def rows() -> list[list[str]]:
    """Section, promise and tests of each row."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_promise_has_tests_that_exist() -> None:
    assert len(rows()) > 15
    for section, promise, tests in rows():
        assert re.match(r"\d+\.\d+", section), section
        assert promise.endswith(".")
        named = re.findall(r"`([^`]+)`", tests)
        assert named or "README" in tests, section
        for path in named:
            assert list(ROOT.glob(path)), f"{section}: {path}"


def test_every_test_of_security_is_named() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for path in ROOT.glob("tests/security/test_*.py"):
        assert path.name in text or path.name == "test_promises.py", path
