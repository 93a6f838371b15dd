"""Every query of every dashboard, put to a Prometheus that watches the live stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardLink

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT, START_S, free_port, wait_until
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.http import HttpClient
from tests.nodes import Socket

OBSERVABILITY = ROOT / "compose" / "observability"
DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))
# What Grafana replaces its variables by.
VARIABLES = {"$__rate_interval": "30s", "$endpoint": ".*"}
SCRAPE_S = 2


class _Compose(yaml.SafeLoader):
    """What merges compose files has tags of its own."""


_Compose.add_constructor("!override", lambda loader, node: None)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    """Panels have ids of their own, do not overlap, and ask the datasource that is provisioned."""
    found = json.loads(path.read_text())
    source = yaml.safe_load((OBSERVABILITY / "grafana" / "datasource.yml").read_text())
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        position = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not cells & taken, panel["title"]
        assert position["x"] + position["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == source["datasources"][0]["uid"]
    # By which the others link to it, and Grafana remembers it.
    assert found["uid"] == f"hlfast-{path.stem}"


def _without(found: Any, known: Any, path: str = "") -> list[str]:
    """What is in one document and not, or otherwise, in another."""
    if isinstance(found, dict) and isinstance(known, dict):
        return [
            line
            for name, value in found.items()
            for line in (
                _without(value, known[name], f"{path}/{name}")
                if name in known
                else [f"{path}/{name}"]
            )
        ]
    if isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        pairs = enumerate(zip(found, known, strict=True))
        return [line for n, (a, b) in pairs for line in _without(a, b, f"{path}/{n}")]
    return [] if found == known else [path]


# Needed in the schema, and filled in by the package.
_LINK = set(DashboardLink().to_json()) - {"url"}
_LEGEND = {"displayMode", "placement", "showLegend", "calcs"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafanas_schema_knows_all_of_it(path: Path) -> None:
    """A field that the schema does not know, at any depth, is lost on the way through it."""
    register_default_plugins()
    found = json.loads(path.read_text())
    known = json.loads(json.dumps(Dashboard.from_json(found), cls=JSONEncoder))
    assert _without(found, known) == []
    assert all(link.keys() >= _LINK for link in found["links"])
    for panel in found["panels"]:
        assert panel["type"] == "row" or panel["options"]["legend"].keys() >= _LEGEND
    found["panels"][1]["options"]["legend"]["colour"] = found["titel"] = "x"
    assert set(_without(found, known)) == {"/titel", "/panels/1/options/legend/colour"}


def test_what_prometheus_asks_is_a_service() -> None:
    found = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    asked = set()
    for job in found["scrape_configs"]:
        for names in job.get("dns_sd_configs", ()):
            asked.update(names["names"])
        for targets in job.get("static_configs", ()):
            asked.update(target.partition(":")[0] for target in targets["targets"])
    services = [
        # One of them only includes another.
        yaml.load(path.read_text(), _Compose).get("services", {})  # noqa: S506 (a SafeLoader)
        for path in (ROOT / "compose").glob("*.yml")
    ]
    assert asked and asked <= set().union(*services)


def test_promtool_accepts_the_configuration() -> None:
    file = OBSERVABILITY / "prometheus.yml"
    done = subprocess.run(
        [_program("promtool"), "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[Any]:
    """Each query of each dashboard, and those of its variables."""
    found = []
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                name = f"{path.stem}: {panel['title']}: {target['refId']}"
                found.append(pytest.param(target["expr"], id=name))
    return found


@contextmanager
def exporter(program: str, port: int, **environment: str) -> Iterator[None]:
    """One of Debian's exporters on a port of the loopback address."""
    found = _program(program)
    process = subprocess.Popen(
        [found, f"--web.listen-address=127.0.0.1:{port}"],
        env={"PATH": os.environ["PATH"]} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(START_S)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed (Debian: apt-get install {name})")
    return found


def configuration(ports: Mapping[str, list[int]]) -> str:
    """The project's file, in which only intervals and targets are others, by the job's name."""
    found = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    found["global"]["scrape_interval"] = f"{SCRAPE_S}s"
    jobs = found["scrape_configs"]
    assert [job["job_name"] for job in jobs] == list(ports)
    for job in jobs:
        job.pop("dns_sd_configs", None)
        targets = [f"127.0.0.1:{port}" for port in ports[job["job_name"]]]
        job["static_configs"] = [{"targets": targets}]
    return yaml.safe_dump(found)


class Prometheus:
    """The real one, on a free port."""

    def __init__(self, ports: Mapping[str, list[int]]) -> None:
        self._ports = ports
        self.url = f"http://127.0.0.1:{free_port()}"
        self._http = HttpClient(self.url, {})

    def __enter__(self) -> Prometheus:
        self._directory = Path(tempfile.mkdtemp(prefix="hlfast-prometheus-"))
        file = self._directory / "prometheus.yml"
        file.write_text(configuration(self._ports))
        self._process = subprocess.Popen(
            [
                _program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={self._directory}/data",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_ready, "Prometheus did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(START_S)
        shutil.rmtree(self._directory, ignore_errors=True)

    def ask(self, query: str) -> list[Any]:
        """The series that it answers with now. Raises AssertionError for what is no query."""
        parameters = {"query": query}
        answer = self._http.get("/api/v1/query", params=parameters).json()
        assert answer["status"] == "success", answer
        found: list[Any] = answer["data"]["result"]
        return found

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        try:
            return self._http.get("/-/ready").status_code == 200
        except OSError:
            return False


@contextmanager
def used(front: Proxy) -> Iterator[None]:
    """Used again and again: a rate needs a number that grows while it is looked at."""
    ends = Event()

    def go_on() -> None:
        while not ends.wait(SCRAPE_S):
            use(front)

    with ThreadPoolExecutor(1) as threads:
        using = threads.submit(go_on)
        try:
            yield
        finally:
            ends.set()
        using.result()


def use(front: Proxy) -> None:
    """A little of everything that a dashboard shows."""
    with Client(front.url) as client:
        ada, bob = client.user(), client.user()
        ada.befriend(bob)
        token = client.token(ada.username)
        socket = Socket(front.ws_url, token)
        bob.write()
        cursor = socket.next()["cursor"]
        socket.connection.close()
        socket = Socket(front.ws_url, token, cursor)
        assert socket.resumed()[0]
        socket.connection.close()
        assert client.get("/users/me").status_code == 401
        for path, status in (("/metrics", 404), ("/ws", 426)):
            assert client.get(f"{front.url}{path}").status_code == status


@pytest.fixture(scope="module")
def prometheus(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[Prometheus]:
    """It has seen the whole stack at work."""
    broker_port, postgres_port, node_port = free_port(), free_port(), free_port()
    listens = f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {broker_port}\n"
    with ExitStack() as stack:
        broker = stack.enter_context(RabbitServer(listens, ["rabbitmq_prometheus"]))
        servers = new_database(postgres_server, TEMPLATE), redis_server.url
        api = stack.enter_context(Api(*servers, EVENTS_URL=broker.url))
        node = stack.enter_context(Node(*servers, EVENTS_URL=broker.url))
        front = stack.enter_context(Proxy([api.port], [node.port]))
        front.wait_until_up()
        source = f"host={postgres_server.home.sockets} user=hlfast dbname=postgres sslmode=disable"
        stack.enter_context(
            exporter("prometheus-postgres-exporter", postgres_port, DATA_SOURCE_NAME=source)
        )
        stack.enter_context(exporter("prometheus-node-exporter", node_port))
        ports = {
            "hlfast-api": [api.port],
            "hlfast-ws": [node.port],
            "haproxy": [front.statistics_port],
            "rabbitmq": [broker_port],
            "postgres": [postgres_port],
            "node": [node_port],
        }
        found = stack.enter_context(Prometheus(ports))
        wait_until(lambda: len(found.ask("up == 1")) == len(ports), "not everything is up")
        stack.enter_context(used(front))
        yield found


@pytest.mark.parametrize("query", queries())
def test_a_query_returns_series(prometheus: Prometheus, query: str) -> None:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    assert "$" not in query
    wait_until(lambda: prometheus.ask(query), f"no series: {query}")
