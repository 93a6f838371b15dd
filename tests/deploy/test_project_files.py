"""What hosts, tools and catalogues read of the project says what the project says."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from typing import Any

import yaml

from hl_utils.servers.process import ROOT
from hlfast import VERSION
from tests.test_style import GATES


def read(path: str) -> Any:
    """A file of YAML."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    """The project of pyproject.toml."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(found, dict)
    return found


def test_the_workflow_runs_what_a_newcomer_runs_on_every_python() -> None:
    job = read(".github/workflows/test.yml")["jobs"]["test"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci" / "run").exists()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, last = (int(minor) for minor in re.findall(r"Python 3\.(\d+) to 3\.(\d+)", readme)[0])
    assert job["strategy"]["matrix"]["python"] == [f"3.{n}" for n in range(first, last + 1)]
    assert project()["requires-python"] == f">=3.{first}"


def test_pre_commit_has_every_gate() -> None:
    hooks = chain.from_iterable(repo["hooks"] for repo in read(".pre-commit-config.yaml")["repos"])
    entries = [hook["entry"] for hook in hooks]
    for gate in (*GATES, "lint-imports"):
        assert any(f" {gate}" in entry or entry.endswith(gate) for entry in entries), gate
    tests = {word for entry in entries for word in entry.split() if word.startswith("tests/")}
    assert tests and all((ROOT / path).exists() for path in tests)


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert (citation["version"], citation["license"]) == (project()["version"], "MIT")
    assert project()["version"] == VERSION
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {citation['version']} - {citation['date-released']}\n" in changelog
