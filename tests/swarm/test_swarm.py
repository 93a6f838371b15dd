"""The swarm as users start it, short, against the whole service."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from hl_utils.servers.process import ROOT, free_port, wait_until
from hl_utils.servers.services import Api, Node
from tests.http import HttpClient, get
from tests.swarm.conftest import House

LOCUST = shutil.which("locust", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
WITHIN_S = 120
PEOPLE = 30
RUNS_MAX = 4


# A row of the printed report: type, name, requests, failures.
_ROW = re.compile(r"^(\S+) +(\S.*?) +(\d+) +(\d+)\([\d.]+%\) *\|", re.MULTILINE)


@dataclass
class Outcome:
    """How a run ended. `rows`: how often each kind of request or frame was, and was wrong."""

    code: int
    log: str
    rows: dict[tuple[str, str], tuple[int, int]]

    @property
    def wrong(self) -> dict[tuple[str, str], int]:
        """Kinds with failures."""
        return {kind: failures for kind, (_, failures) in self.rows.items() if failures}


def swarm(url: str, *options: str, people: int = 10, run_time_s: int = 8) -> Outcome:
    """One run, in processes of its own: Locust changes what Python's library does."""
    port = str(free_port())
    command = [LOCUST or "locust", "-f", "bench/swarm/locustfile.py", "--host", url, "--headless"]
    command += ["--users", str(people), "--spawn-rate", "20", "--run-time", f"{run_time_s}s"]
    command += ["--processes", "2", "--master-port", port, "--master-bind-port", port]
    done = subprocess.run(
        [*command, "--only-summary", *options],
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    log = done.stdout + done.stderr
    rows = {
        (kind, name): (int(requests), int(failures))
        for kind, name, requests, failures in _ROW.findall(done.stdout + done.stderr)
    }
    return Outcome(done.returncode, log, rows)


REQUESTS = {
    ("POST", "/users"),
    ("POST", "/login"),
    ("GET", "/users/me"),
    ("PATCH", "/users/me"),
    ("GET", "/users/{id}"),
    ("GET", "/users/search"),
    ("PUT", "/friends/{id}"),
    ("GET", "/friends"),
    ("GET", "/friends/requests"),
    ("POST", "/posts"),
    ("GET", "/posts/{id}"),
    ("GET", "/feed"),
    ("GET", "/dialogs"),
    ("GET", "/dialogs/{id}/messages"),
    ("POST", "/dialogs/{id}/messages"),
    ("POST", "/dialogs/{id}/messages (again)"),
    ("POST", "/dialogs/{id}/read"),
}
AROUND_STARS = {
    ("GET", "/users/{id} (star)"),
    ("GET", "/users/search (star)"),
    ("GET", "/users/{id}/posts (star)"),
    ("POST", "/posts (star)"),
    ("POST", "/dialogs/{id}/messages (star)"),
}
FRAMES = {
    ("WS", name)
    for name in (
        *("connect", "presence", "typing", "friend.requested", "friend.added", "message.read"),
        *("message.created", "post.created (star)", "post.created (star), by clock"),
    )
}
# What everybody does at the beginning, whatever the ratio is.
_ARRIVAL = {
    "/users",
    "/login",
    "/users/me",
    "/friends",
    "/friends/requests",
    "/friends/{id} (star)",
}


def test_everybody_does_everything_and_every_server_serves(house: House) -> None:
    before, seen = house.served(), set()
    # The accounts and their friendships stay: a slow machine gets there in the next run.
    for _ in range(RUNS_MAX):
        outcome = swarm(house.door.url, "--rate", "2", people=PEOPLE, run_time_s=12)
        assert (outcome.code, outcome.wrong) == (0, {}), outcome.log
        seen |= outcome.rows.keys()
        if not (missing := (REQUESTS | AROUND_STARS | FRAMES) - seen):
            break
    assert not missing, outcome.log
    assert outcome.rows["WS", "connect"][0] == PEOPLE
    after = house.served()
    assert len(after) == 4
    assert all(after[server] > before[server] for server in after), after
    tasks = {
        name: requests
        for (kind, name), (requests, _) in outcome.rows.items()
        if kind not in ("WS", "PATCH") and name not in _ARRIVAL
    }
    around = sum(requests for name, requests in tasks.items() if name.endswith("(star)"))
    # The ratio is 0.3, of some hundred draws.
    assert 0.15 < around / sum(tasks.values()) < 0.45, outcome.log


def test_another_run_has_the_same_accounts_and_fails_by_its_thresholds(house: House) -> None:
    url = f"{house.door.url}/api/v1/users/search"
    for _ in range(2):
        limits = ("--min-rps", "1e6", "--max-p99-ms", "0.001", "--max-frame-p99-ms", "0.001")
        outcome = swarm(house.door.url, "--seed", "7", *limits)
        assert (outcome.code, outcome.wrong) == (1, {}), outcome.log
        assert "right answers a second, 1000000.0 at least" in outcome.log
        assert re.search(r"p99 of requests \d+ ms, 0 ms at most", outcome.log)
        assert re.search(r"p99 of frames \d+ ms, 0 ms at most", outcome.log)
    names = [
        user["username"]
        for user in get(url, params={"first_name": "Lady", "last_name": "Gaga"}).json()["items"]
    ]
    assert sorted(name for name in names if "swarm-7-" in name) == [
        f"swarm-7-star-{number}" for number in range(3)
    ]


def test_without_lady_gaga_nothing_is_about_stars(house: House) -> None:
    outcome = swarm(house.door.url, "--gaga", "0", "--seed", "8")
    assert (outcome.code, outcome.wrong) == (0, {}), outcome.log
    assert outcome.rows["GET", "/feed"][0]
    assert not [name for _, name in outcome.rows if "(star)" in name]


def test_a_node_that_stops_costs_nobody_a_frame(house: House) -> None:
    node = house.nodes[1]

    def has_sockets() -> bool:
        # Not what the front door counts, which has those in it whose handshake is under way.
        found = re.search(
            r"^hlfast_ws_sockets (\d+)", get(f"{node.url}/metrics").text, re.MULTILINE
        )
        return found is not None and int(found[1]) >= PEOPLE // 3

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(swarm, house.door.url, "--rate", "2", people=PEOPLE, run_time_s=20)
        wait_until(has_sockets, "nobody has come")
        node.stop()
        outcome = running.result()
    node.start()
    house.door.wait_until_up()
    # In which a message that is missing in its dialog would be an error, too.
    assert (outcome.code, outcome.wrong) == (0, {}), outcome.log
    assert outcome.rows["WS", "closed 1001"][0] >= PEOPLE // 3
    assert outcome.rows["WS", "resume"][0]


@pytest.mark.parametrize(
    ("ends", "is_wrong"),
    [
        ([(1001, ""), (1008, "token expired")], False),
        ([(1008, "token invalid"), (1008, "token revoked"), (1011, "")], True),
    ],
)
def test_a_node_may_close_before_its_hello(
    house: House, ends: list[tuple[int, str]], is_wrong: bool
) -> None:
    """A node that drains does; the swarm tells it from a failure by its code and its reason."""
    turns, met, heard = itertools.cycle(ends), set(), set()

    def refuse(connection: ServerConnection) -> None:
        end = next(turns)
        connection.close(*end)
        met.add(end)

    kinds = {("WS", f"closed {code}") for code, _ in ends}
    with serve(refuse, "127.0.0.1", 0) as node:
        threading.Thread(target=node.serve_forever).start()
        ws_url = f"ws://127.0.0.1:{node.socket.getsockname()[1]}"
        for _ in range(RUNS_MAX):
            outcome = swarm(house.door.url, "--ws-url", ws_url, run_time_s=4)
            here = kinds & outcome.rows.keys()
            for requests, wrong in (outcome.rows[kind] for kind in here):
                assert (requests > 0, wrong == requests) == (True, is_wrong), outcome.log
            assert outcome.wrong.keys() <= kinds, outcome.log
            heard |= here
            # A run may end before the client hears of the last one.
            if met == {*ends} and heard == kinds:
                break
        node.shutdown()
    assert met == {*ends}
    assert heard == kinds, outcome.log


# Kind of request, and what is noticed of it.
LIES = {
    "/posts/{id}": "content is not what it must be",
    "/users/search": "ids are not in order",
    "/dialogs/{id}/messages": "own write is not there",
}


def _altered(path: str, method: str, body: bytes) -> bytes:
    """Three lies: a post is another, a list is turned around, a write is lost."""
    if method != "GET":
        return body
    if re.fullmatch(r"/api/v1/posts/\d+", path):
        return body.replace(b'"content":"', b'"content":"not ')
    if path.startswith("/api/v1/users/search"):
        found = json.loads(body)
        return json.dumps(found | {"items": found["items"][::-1]}).encode()
    if re.fullmatch(r"/api/v1/dialogs/\d+/messages\?after=\d+&limit=1", path):
        return b'{"items":[],"next":null}'
    return body


class Liar(BaseHTTPRequestHandler):
    """Passes everything on, and not all that comes back as it was."""

    protocol_version = "HTTP/1.1"
    truth: HttpClient

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = ("authorization", "content-type", "if-none-match")
        headers = {name: value for name, value in self.headers.items() if name.lower() in wanted}
        answer = self.truth.request(self.command, self.path, content=body, headers=headers)
        told = _altered(self.path, self.command, answer.content)
        self.send_response(answer.status_code)
        for name in ("content-type", "etag"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        if answer.status_code not in (204, 304):
            self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PUT = do_PATCH = _pass  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_wrong_answers_are_noticed(house: House) -> None:
    with ExitStack() as stack:
        truth = stack.enter_context(HttpClient(house.door.url, {}))
        handler = type("Handler", (Liar,), {"truth": truth})
        liar = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=liar.serve_forever).start()
        stack.callback(liar.shutdown)
        url = f"http://127.0.0.1:{liar.server_port}"
        options = ("--ws-url", house.door.ws_url, "--rate", "3", "--seed", "9")
        wrong, log = set(), ""
        for _ in range(RUNS_MAX):
            outcome = swarm(url, *options, run_time_s=10)
            assert outcome.code == 1
            wrong |= {name.removesuffix(" (star)") for _, name in outcome.wrong}
            log += outcome.log
            if len(wrong) >= len(LIES):
                break
    assert wrong == LIES.keys(), log
    for reason in LIES.values():
        assert reason in log
    # And what it means.
    assert "what was acknowledged is not found at once" in log


def test_without_a_front_door_the_websocket_is_one_port_further_on(house: House) -> None:
    """As `bash build.sh up` has it: the command of bench/README finds it."""
    servers = [house.apis[0].settings[name] for name in ("DATABASE_URL", "REDIS_URL")]
    api, node = Api(*servers), Node(*servers)
    while node.port != api.port + 1:
        api, node = Api(*servers), Node(*servers)
    with api, node:
        outcome = swarm(api.url)
    assert (outcome.code, outcome.wrong) == (0, {}), outcome.log
    assert outcome.rows["WS", "connect"][0] >= 10
    assert f"the one at {node.ws_url} is taken" in outcome.log


def test_another_server_is_noticed(house: House) -> None:
    for url in (house.door.statistics_url, f"http://127.0.0.1:{free_port()}"):
        outcome = swarm(url, run_time_s=3)
        assert outcome.code == 1
        assert "no request was answered rightly" in outcome.log


@pytest.mark.parametrize("option", ["--gaga=1.5", "--rate=-1", "--max-error-ratio=nan"])
def test_an_option_that_makes_no_sense_is_refused(option: str) -> None:
    command = [LOCUST or "locust", "-f", "bench/swarm/locustfile.py", option, "--headless"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"argument {option.partition('=')[0]}: " in done.stderr
