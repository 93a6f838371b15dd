"""Findings as lines for a person, or as JSON for a program."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from hl_utils.check.finding import Finding

_COLORS = {"error": "\033[31m", "warning": "\033[33m"}
_PLAIN = "\033[0m"
_TEXT_COLUMNS_MIN = 40


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as a list of JSON objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def as_text(findings: Sequence[Finding], checks: int, *, columns: int = 0) -> str:
    """A line for each finding, and one that counts.

    On a terminal of so many columns (0: none) a line goes on below its own text, in colour.
    """
    codes = max((len(finding.code) for finding in findings), default=0)
    subjects = max((len(finding.subject) for finding in findings), default=0)
    margin = 7 + 2 + codes + 2 + subjects + 2
    lines = []
    for finding in findings:
        line = (
            f"{finding.level:7}  {finding.code:{codes}}  {finding.subject:{subjects}}  "
            f"{finding.what} — {finding.why} → {finding.mend}"
        )
        if columns:
            line = textwrap.fill(
                line,
                max(columns, margin + _TEXT_COLUMNS_MIN),
                subsequent_indent=" " * margin,
                break_on_hyphens=False,
                break_long_words=False,
            )
            line = line.replace(
                finding.level, f"{_COLORS[finding.level]}{finding.level}{_PLAIN}", 1
            )
        lines.append(line)
    lines.append(f"{checks} checks, {_counted(findings)}")
    return "\n".join(lines)


def _counted(findings: Sequence[Finding]) -> str:
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    return f"{_many(errors, 'error')}, {_many(warnings, 'warning')}"


def _many(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
