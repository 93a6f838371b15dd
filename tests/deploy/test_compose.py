"""The compose files: complete, closed to the outside, and fed by the `.env` of build.sh."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hl_utils.servers.process import ROOT
from tests.deploy.compose import program

FILES = sorted((ROOT / "compose").glob("*.yml"))
# Files that are laid over compose.yaml; the others are included by it.
OVER = [path.name for path in FILES if path.name not in (ROOT / "compose.yaml").read_text()]
PROJECTS = [(), *((name,) for name in OVER)]
# It is a project of its own.
ALONE = "citus.yml"
# ${NAME}, ${NAME:-default}, ${NAME:?error}; $$ is a dollar.
_VARIABLE = re.compile(r"(?<!\$)\$(?:\{([A-Za-z_]\w*)([^}]*)\}|([A-Za-z_]\w*))")


Project = dict[str, Any]


def written_env() -> dict[str, str]:
    """What build.sh writes into `.env`, made by its own code: other secrets each time."""
    text = (ROOT / "build.sh").read_text()
    found = re.search(r"<<'PYTHON'\n(.*?)^PYTHON$", text, re.DOTALL | re.MULTILINE)
    assert found
    done = subprocess.run(
        [sys.executable, "-c", found[1]], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """One that all projects read."""
    return written_env()


def test_the_secrets_are_random_and_fit_into_urls() -> None:
    one, another = written_env(), written_env()
    assert one.keys() == another.keys()
    secrets = {name for name in one if re.search("PASSWORD|SECRET|COOKIE", name)}
    assert len({one[name] for name in secrets} | {another[name] for name in secrets}) == 2 * len(
        secrets
    )
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{24,}", one[name]) for name in secrets)


@pytest.mark.parametrize("path", [ROOT / "compose.yaml", *FILES], ids=lambda path: path.name)
def test_every_variable_is_in_the_written_env_or_has_a_default(
    path: Path, written: dict[str, str]
) -> None:
    for braced, rest, bare in _VARIABLE.findall(path.read_text()):
        name = braced or bare
        assert name in written or rest.startswith(":-"), f"{name} in {path.name}"


@pytest.fixture(scope="module")
def compose() -> list[str]:
    command = program()
    if not command:
        pytest.skip("SKIPPED: neither `docker compose` nor `docker-compose` is there")
    return command


def configuration(
    command: list[str], checkout: Path, over: tuple[str, ...], written: Mapping[str, str]
) -> Project:
    """A project as compose understands it, all its profiles active. No engine is needed."""
    shutil.copytree(ROOT / "compose", checkout / "compose")
    shutil.copy(ROOT / "compose.yaml", checkout)
    (checkout / ".env").write_text("".join(f"{name}={written[name]}\n" for name in written))
    files = [*(() if ALONE in over else ("compose.yaml",)), *(f"compose/{name}" for name in over)]
    options = [part for file in files for part in ("-f", file)]
    done = subprocess.run(
        [*command, *options, "--profile", "*", "config", "--format", "json"],
        cwd=checkout,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    found: Project = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def configured(
    compose: list[str], written: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Project]:
    """A project by the files laid over it, with `.env` as build.sh has written it.

    Compose is asked once for each: it takes a fifth of a second of CPU.
    """

    @cache
    def of(*over: str) -> Project:
        return configuration(compose, tmp_path_factory.mktemp("checkout"), over, written)

    return of


@pytest.fixture(params=PROJECTS, ids=lambda over: "+".join(("compose.yaml", *over)))
def project(request: pytest.FixtureRequest, configured: Callable[..., Project]) -> Project:
    """Each project, as compose understands it."""
    return configured(*request.param)


@pytest.fixture(
    params=[over for over in PROJECTS if ALONE not in over],
    ids=lambda over: "+".join(("compose.yaml", *over)),
)
def stack(request: pytest.FixtureRequest, configured: Callable[..., Project]) -> Project:
    """Those that have the service in them."""
    return configured(*request.param)


def test_the_cluster_reads_the_same_env_and_its_service_is_no_superuser(
    configured: Callable[..., Project], written: dict[str, str]
) -> None:
    found = configured(ALONE)
    assert set(found["services"]) == {"master", "worker"}
    for service in found["services"].values():
        environment = service["environment"]
        assert (environment["POSTGRES_USER"], environment["SERVICE_USER"]) == ("postgres", "hlfast")
        assert environment["POSTGRES_PASSWORD"] == written["CITUS_PASSWORD"]
        assert environment["SERVICE_PASSWORD"] == written["POSTGRES_PASSWORD"]
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ()))


def test_dialogs_are_on_the_cluster_before_anybody_writes(
    configured: Callable[..., Project], written: dict[str, str]
) -> None:
    """The service has its own user there; who adds and removes nodes is the superuser."""
    services = configured("dialogs-citus.yml")["services"]
    for name in ("tables", "backend", "websocket"):
        environment = services[name]["environment"]
        assert environment["DIALOGS_DATABASE_URL"] == "postgresql://hlfast@master:5432/hlfast", name
        assert environment["HLFAST_DIALOGS_DATABASE_PASSWORD"] == written["POSTGRES_PASSWORD"], name
        assert "@db:" in environment["DATABASE_URL"], name
        assert name == "tables" or "shards" in services[name]["depends_on"], name
    shards = services["shards"]
    environment = shards["environment"]
    assert environment["DIALOGS_DATABASE_URL"] == "postgresql://postgres@master:5432/hlfast"
    assert environment["HLFAST_DIALOGS_DATABASE_PASSWORD"] == written["CITUS_PASSWORD"]
    assert {"tables", "master", "worker"} <= shards["depends_on"].keys()
    assert services["worker"]["deploy"]["replicas"] == 2


def test_a_node_of_the_cluster_is_healthy_once_the_cluster_knows_it(
    configured: Callable[..., Project],
) -> None:
    services = configured(ALONE)["services"]
    script = (ROOT / "citus" / "node.sh").read_text()
    known = re.search(r"^known=(\S+)$", script, re.MULTILINE)
    assert known and '(bash /citus/join.sh && touch "$known") &' in script
    for service in services.values():
        assert f"test -e {known[1]} && pg_isready" in service["healthcheck"]["test"][1]
        # Where a file of the start before would be, it would say so too early.
        assert "/tmp" in service["tmpfs"]


def test_it_does_not_start_without_secrets(compose: list[str], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"run bash build\.sh first"):
        configuration(compose, tmp_path, (), {})


def test_only_the_front_door_is_open_beyond_loopback(stack: Project) -> None:
    opened = {
        (name, port["published"])
        for name, service in stack["services"].items()
        for port in service.get("ports", ())
        if port.get("host_ip") != "127.0.0.1"
    }
    assert opened == {("haproxy", "8000")}
    assert not any(s.get("network_mode") == "host" for s in stack["services"].values())


def test_every_service_has_limits(project: Project) -> None:
    for name, service in project["services"].items():
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        assert {"memory", "pids"} <= limits.keys(), name


# What an entrypoint needs that begins as root and goes on as another user.
TO_CHANGE_USER = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}


def test_every_service_has_few_rights(project: Project) -> None:
    """No capability, none to be had, nothing of its image to be changed, and no root inside."""
    for name, service in project["services"].items():
        assert service.get("cap_drop") == ["ALL"], name
        more = TO_CHANGE_USER if service.get("user") == "root" else set()
        assert set(service.get("cap_add") or ()) == more, name
        assert service.get("security_opt") == ["no-new-privileges:true"], name
        assert service.get("read_only") is True, name
        assert service.get("privileged") is not True, name


def test_each_uses_a_user_of_its_own_in_the_database(stack: Project) -> None:
    """The superuser of the server is nobody's login, and only the service has the service's."""
    services = stack["services"]
    is_postgres = services["db"]["image"].startswith("postgres")
    if is_postgres:
        assert services["db"]["environment"]["POSTGRES_USER"] == "postgres"
        assert services["roles"]["environment"]["SERVICE_USER"] == "hlfast"
        assert services["tables"]["depends_on"]["roles"]["condition"].endswith("successfully")
        assert services["postgres-exporter"]["environment"]["DATA_SOURCE_USER"] == "exporter"
    for name in ("tables", "backend", "websocket"):
        url = services[name]["environment"]["DATABASE_URL"]
        assert "://hlfast@db:" in url, name


def test_no_password_is_put_into_a_url(project: Project) -> None:
    """It would have to be encoded, and compose cannot."""
    for name, service in project["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), f"{name}: {variable}"


def test_every_service_waits_for_the_health_of_what_it_needs(project: Project) -> None:
    services = project["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            ends = services[needed].get("restart") in (None, "no", "on-failure:3")
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how["condition"] == wanted, f"{name} needs {needed}"
            # That of our own image is in the Dockerfile.
            assert ends or "healthcheck" in services[needed] or "build" in services[needed], needed


def test_data_is_in_named_volumes(project: Project) -> None:
    for name, service in project["services"].items():
        for volume in service.get("volumes", ()):
            assert volume["type"] == "volume" or volume.get("read_only"), f"{name}: {volume}"


def test_no_secret_is_in_an_argument(project: Project, written: dict[str, str]) -> None:
    secrets = {value for name, value in written.items() if "PASSWORD" in name}
    assert secrets
    for name, service in project["services"].items():
        arguments = json.dumps([service.get("command"), service.get("entrypoint")])
        assert not any(secret in arguments for secret in secrets), name
        assert "POSTGRES_PASSWORD}" not in arguments


def _seconds(text: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)([hms])", text))


def test_a_process_may_drain_before_it_is_killed(stack: Project) -> None:
    for name in ("backend", "websocket"):
        service = stack["services"][name]
        assert _seconds(service["stop_grace_period"]) > int(
            service["environment"]["HLFAST_DRAIN_TIMEOUT_S"]
        )


def test_the_api_believes_haproxy_alone(stack: Project) -> None:
    services = stack["services"]
    address = services["haproxy"]["networks"]["front"]["ipv4_address"]
    assert services["backend"]["environment"]["HLFAST_TRUSTED_PROXIES"] == address
