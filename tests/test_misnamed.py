"""Variables that were to be settings, and are none."""

from __future__ import annotations

import json
import os
import re

import pytest

from hl_utils.servers.process import ROOT
from hlfast.misnamed import KNOWN, misnamed, sentences
from tests import zygote


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HLFAST_WORKRES", "HLFAST_WORKERS"),
        ("HLFAST_WORKER", "HLFAST_WORKERS"),
        ("hlfast_worker", "HLFAST_WORKERS"),
        ("HLFAST_TRUSTED_PROXY", "HLFAST_TRUSTED_PROXIES"),
        ("HLFAST_TUNING_BATCH_READS", "HLFAST_TUNING__BATCH_READS"),
        ("HLFAST_TUNING__BATCH_REDS", "HLFAST_TUNING__BATCH_READS"),
        ("HLFAST_ADDRESS_REQUEST_MAX", "HLFAST_ADDRESS_REQUESTS_MAX"),
        ("HLFAST_XQZ", ""),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URLS", "DATABASE_URL"),
        ("EVENT_URL", "EVENTS_URL"),
        ("FIRST_SUPERUSER_PASWORD", "FIRST_SUPERUSER_PASSWORD"),
    ],
)
def test_a_mistyped_name(name: str, meant: str) -> None:
    assert list(misnamed([name, "PATH", "HLFAST_HOME"])) == [(name, meant)]
    (line,) = sentences([name])
    assert line.startswith(f"{name} is no setting")
    assert (f"did you mean {meant}?" in line) == bool(meant)


def test_other_programs_may_have_names_of_their_own() -> None:
    others = ["PATH", "HOME", "DATABASE", "URL", "REDIS", "POSTGRES_PASSWORD", "SECRET", "WORKERS"]
    assert not list(misnamed([*others, "DATABASE_URL", "DATABASE_URL2", "EVENTS_URL"]))


def test_whatever_the_project_itself_reads_is_known() -> None:
    """In configurations and scripts; to these a name is added in `hlfast/misnamed.py`."""
    files = [
        ROOT / "build.sh",
        ROOT / "compose.yaml",
        ROOT / "Dockerfile",
        *(path for name in ("compose", "haproxy", "rabbitmq", "citus", "hl_utils") for path in
          (ROOT / name).rglob("*") if path.suffix in (".yml", ".cfg", ".sh", ".conf", ".py")),
    ]  # fmt: skip
    read = {name for file in files for name in re.findall(r"HLFAST_\w*[A-Z]", file.read_text())}
    assert "HLFAST_WORKERS" in read
    assert read <= KNOWN


def started(verb: str, **environment: str) -> list[str]:
    """What a verb says that ends at once for want of a database."""
    variables = {"PATH": os.environ["PATH"], "HLFAST_HOME": "/nowhere", **environment}
    done = zygote.run(verb, env=variables)
    assert done.returncode == 1
    return done.stderr.splitlines()


def test_it_is_named_at_start() -> None:
    said = "HLFAST_WORKRES is no setting, and nobody reads it: did you mean HLFAST_WORKERS?"
    assert started("tables", HLFAST_WORKRES="2")[0] == f"hlfast: {said}"
    first, _ = started("ws", HLFAST_WORKRES="2", HLFAST_LOG_FORMAT="json")
    assert json.loads(first)["message"] == said


def test_where_another_program_keeps_its_metrics_is_nothing_to_us() -> None:
    """The library looks for this when it is imported, and would open files there."""
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        (line,) = started("ws", **{name: "/nowhere"})
        assert "DATABASE_URL is not set" in line
