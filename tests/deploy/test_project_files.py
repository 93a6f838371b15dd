"""What hosts, tools and catalogues read of the project says what the project says."""

from __future__ import annotations

import re
import subprocess
import sys
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


def test_a_release_has_the_changelogs_words() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "release_notes.py")]
    version = project()["version"]
    done = subprocess.run([*script, f"v{version}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() and done.stdout in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "\n## " not in done.stdout
    for tag in (version, "v99.0.0", "latest"):
        refused = subprocess.run([*script, tag], capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert tag in refused.stderr


def test_the_release_builds_after_the_tests() -> None:
    jobs = read(".github/workflows/release.yml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["release"]["needs"] == "test"
    said = " ".join(step.get("run", "") for step in jobs["release"]["steps"])
    for command in ("release_notes.py", "pip wheel", "docker build", "gh release create"):
        assert command in said


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert (citation["version"], citation["license"]) == (project()["version"], "MIT")
    assert project()["version"] == VERSION
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {citation['version']} - {citation['date-released']}\n" in changelog
