"""compose/pin_images.sh: each service's image by the digest that its own registry gave it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hl_utils.servers.process import ROOT
from tests.deploy.compose import program
from tests.deploy.test_compose import written_env

Pin = Callable[..., subprocess.CompletedProcess[str]]
DIGEST = "sha256:" + "0" * 63
# What the engine knows of images, in its own words: names of Docker's registry are short.
KNOWN = {
    "redis:7.4": [f"mirror.example:5000/redis@{DIGEST}1", f"redis@{DIGEST}2"],
    "docker.io/library/postgres:17": [f"postgres@{DIGEST}3"],
    "mirror.example:5000/haproxy": [f"haproxy@{DIGEST}4", f"mirror.example:5000/haproxy@{DIGEST}5"],
    "built:1": [],
    "pushed:1": [f"mirror.example:5000/pushed@{DIGEST}6"],
}


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    """The script beside a compose file of these images: compose is real, the engine has KNOWN."""
    if program() != ["docker", "compose"]:
        pytest.skip("SKIPPED: `docker compose` is not there")
    (tmp_path / "compose").mkdir()
    shutil.copy(ROOT / "compose" / "pin_images.sh", tmp_path / "compose")
    (tmp_path / ".env").write_text("".join(f"{k}={v}\n" for k, v in written_env().items()))
    programs = tmp_path / "programs"
    programs.mkdir()
    known = tmp_path / "known"
    known.mkdir()
    for number, (image, digests) in enumerate(KNOWN.items()):
        (known / str(number)).write_text("\n".join([image, *digests, ""]))
    docker = programs / "docker"
    docker.write_text(
        f"""#!/bin/bash
        [ "$1" != compose ] || exec {shutil.which("docker")} "$@"
        for file in {known}/*; do
            if [ "$(head -1 "$file")" = "${{!#}}" ]; then
                tail -n +2 "$file"
                exit
            fi
        done
        exit 1
        """
    )
    docker.chmod(0o755)

    def run(**services: str) -> subprocess.CompletedProcess[str]:
        images = {name: {"image": image} for name, image in services.items()}
        built = {"backend": {"image": "hlfast", "build": "."}}
        (tmp_path / "compose.yaml").write_text(json.dumps({"services": images | built}))
        return subprocess.run(
            ["bash", str(tmp_path / "compose" / "pin_images.sh")],
            env=dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}"),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_each_is_named_by_the_digest_of_its_registry(pin: Pin) -> None:
    done = pin(
        redis="redis:7.4",
        db="docker.io/library/postgres:17",
        haproxy="mirror.example:5000/haproxy",
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == {
        "services": {
            "redis": {"image": f"redis@{DIGEST}2"},
            "db": {"image": f"postgres@{DIGEST}3"},
            "haproxy": {"image": f"mirror.example:5000/haproxy@{DIGEST}5"},
        }
    }


@pytest.mark.parametrize("image", ["built:1", "pushed:1", "never-pulled:1"])
def test_what_has_none_is_named_and_nothing_is_printed(pin: Pin, image: str) -> None:
    done = pin(redis="redis:7.4", other=image)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{image} of other" in done.stderr and "docker compose pull" in done.stderr
