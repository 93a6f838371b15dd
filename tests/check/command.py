"""The real command, as a process and in this one."""

from __future__ import annotations

import io
import json
import os
import resource
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from hl_utils.command import main
from hl_utils.servers.process import ROOT, START_S
from tests import zygote

Finding = dict[str, str]
FIELDS = ["code", "level", "subject", "what", "why", "mend"]


def run(
    environment: Mapping[str, str], *arguments: str | Path, files_max: int | None = None
) -> subprocess.CompletedProcess[str]:
    """`hlfast check` and its end. `files_max` is the hard limit of open files that it meets."""
    words = ["check", *map(str, arguments)]
    variables = {"PATH": os.environ["PATH"], **environment}
    if files_max is None:
        return zygote.run(*words, env=variables, timeout=START_S)
    limits = (files_max, files_max)
    return subprocess.run(
        [sys.executable, "-m", "hl_utils", *words],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
    )


def found(environment: Mapping[str, str], *arguments: str | Path) -> list[Finding]:
    """Its findings, with an exit code that fits them."""
    code, printed = shown(environment, "--json", *arguments)
    return checked(printed, code)


def shown(environment: Mapping[str, str], *arguments: str | Path) -> tuple[int, str]:
    """Its exit code and what it prints, errors too; run here, which saves starting a Python."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        code = main(["check", *map(str, arguments)])
    return code, printed.getvalue()


def checked(printed: str, code: int) -> list[Finding]:
    """The findings that were printed, held against what is promised of them."""
    findings: list[Finding] = json.loads(printed)
    assert all(list(one) == FIELDS and all(one.values()) for one in findings)
    assert code == any(one["level"] == "error" for one in findings)
    return findings


def codes(findings: list[Finding]) -> list[str]:
    """What is wrong and where, sorted: `code subject`."""
    return sorted(f"{one['code']} {one['subject']}" for one in findings)


def wrong(environment: Mapping[str, str], *arguments: str | Path) -> list[str]:
    """`code subject` of all findings."""
    return codes(found(environment, *arguments))


def random_secret() -> str:
    """One that no file has."""
    return secrets.token_urlsafe(48)
