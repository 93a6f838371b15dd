"""`up` and `clean` as an operator meets them: started as processes, killed, misled, refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from hl_utils.embedded.processes import services_of
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import wait_until
from tests.clients import Client
from tests.conftest import new_database
from tests.hl_utils import first_steps
from tests.hl_utils.stacks import Stack, refusal

IS_ROOT = os.geteuid() == 0
# What `check` counts: a machine that runs tests may allow few open files.
FEW_FILES = {
    "HLFAST_WS_CONNECTIONS_MAX": "500",
    "HLFAST_WS_DISMISSED_MAX": "1",
    "HLFAST_CONNECTIONS_MAX": "500",
}


@pytest.fixture(scope="module")
def template(place: Path) -> Iterator[Path]:
    """A home after its first start."""
    stack = Stack(place / "template")
    first_start(stack)
    yield stack.home


def copy(template: Path, path: Path) -> None:
    """A home like another one, owners and modes included, but for the programs, which stay."""
    path.mkdir()
    shutil.copystat(template, path)
    os.chown(path, template.stat().st_uid, template.stat().st_gid)
    for entry in template.iterdir():
        if entry.name == "programs":
            (path / entry.name).symlink_to(entry)
        else:
            subprocess.run(["cp", "-a", entry, path], check=True)


@pytest.fixture
def home(template: Path, place: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A copy of it, and nothing left of it afterwards."""
    path = place / request.node.name.replace("[", "-").strip("]")
    copy(template, path)
    yield path
    left = Stack(path).processes()
    for process in left:
        process.kill()
    assert not left
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def running(template: Path, place: Path) -> Iterator[Stack]:
    """A stack that tests look at, and then kill parts of."""
    copy(template, place / "running")
    stack = Stack(place / "running", **FEW_FILES)
    stack.start()
    yield stack
    assert stack.stop() == 0
    assert not stack.processes()


def first_start(stack: Stack) -> None:
    """Everything that only a first start shows."""
    reached = stack.start()
    output = wait_until(lambda: stack.output if "stop it" in stack.output else "", "no summary")
    assert "making the database cluster" in output
    assert f"{stack.url}/docs" in output
    assert "bash build.sh clean" in output
    password = output.partition("name demo, password ")[2].split()[0]
    assert f"{stack.url}/lab, as teo, the same password" in output
    assert_alive(stack, password)
    for name in ("stack.json", "secret", "passwords.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600
    assert reached["http_port"] == stack.port
    assert reached["events_url"] == reached["redis_url"]
    assert_private(stack)
    asyncio.run(assert_durable_and_guarded(reached["database_url"]))
    assert stack.stop(signal.SIGINT) == 0
    assert not stack.processes()
    assert not (stack.home / "stack.json").exists()


def assert_alive(stack: Stack, password: str) -> None:
    """There is something to see, and to answer, for whoever logs in first."""
    with Client(stack.url) as somebody:
        demo = Client(stack.url, somebody.token("demo", password))
        # So that one can talk to oneself, in two windows.
        mira = Client(stack.url, somebody.token("mira", password))
        teo = Client(stack.url, somebody.token("teo", password))
    with demo, mira, teo:
        # The machine at work is shown to him alone.
        assert [one.get("/lab").status_code for one in (demo, teo)] == [403, 200]
        assert len(demo.items("/feed")) >= 5
        assert {post["privacy"] for post in demo.items("/feed")} == {"public", "friends"}
        assert len(demo.items("/friends")) == 4
        assert len(demo.items("/friends/requests")) == 1
        last, *_ = demo.items("/dialogs")
        assert (last["user"]["username"], last["unread"]) == ("mira", 2)
        # What is new comes after what was put there.
        written = mira.write("Good morning")
        assert demo.items("/feed")[0] == written
        sent = mira.post(
            f"/dialogs/{last['last_message']['to_user_id']}/messages", json={"content": "?"}
        )
        assert sent.json()["id"] == last["last_message"]["id"] + 1


def nobody_is_there(stack: Stack) -> bool:
    """Whether the database has no user, and the summary names none."""
    wait_until(lambda: "as yourself: register" in stack.output, "no summary")
    with Client(stack.url) as somebody:
        return not somebody.items("/users", ids="1,2,3")


def assert_private(stack: Stack) -> None:
    """The servers have no TCP port, and nobody else's user gets to their sockets and data."""
    for name in ("postgres", "redis"):
        server = stack.server(name)
        assert not [at for at in server.net_connections() if at.family != socket.AF_UNIX]
        assert server.uids().real != 0
        assert server.uids().real == stack.home.joinpath("data").stat().st_uid
    for name in ("api", "ws"):
        service = stack.server(name)
        owner = stack.home.joinpath("data").stat()
        for process in (service, *service.children(recursive=True)):
            assert process.uids() == (owner.st_uid,) * 3
            assert process.gids() == (owner.st_gid,) * 3
        assert "MYSQL_ROOT_PASSWORD" not in service.environ()
        if IS_ROOT and sys.platform == "linux":
            status = Path(f"/proc/{service.pid}/status").read_text()
            assert owner.st_uid != 0
            assert re.search(r"^Groups:\s*$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\s*0+$", status, re.MULTILINE)
    for name in ("data", "run", "logs"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o700


async def assert_durable_and_guarded(url: str) -> None:
    """What a crash may not take, and who may not come in."""
    connection = await asyncpg.connect(url)
    try:
        for name, value in (
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("server_encoding", "UTF8"),
            ("password_encryption", "scram-sha-256"),
            ("is_superuser", "off"),
        ):
            assert await connection.fetchval(f"SHOW {name}") == value
        assert await connection.fetchval("SELECT lower('ÄΣ')") == "äσ"
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url, password="guessed")


def test_it_is_sound(running: Stack) -> None:
    """So `check` says, which finds by its home what runs there."""
    code, output, _ = running.run("check")
    assert output.endswith(" checks, no errors, no warnings\n"), output
    assert code == 0


def test_the_first_steps_end_with_a_feed_and_a_live_message(running: Stack, tmp_path: Path) -> None:
    first_steps.walk(running, tmp_path / "screen")


def test_second_start_keeps_every_row_and_ignores_stale_files(home: Path) -> None:
    stack = Stack(home)
    secret = (home / "secret").read_text()
    stack.start()
    known = json.loads((home / "passwords.json").read_text())["demo"]
    with Client(stack.url) as somebody:
        somebody.user(username="keeper")
        with Client(stack.url, somebody.token("demo", known)) as demo:
            change = {"old_password": known, "new_password": "of my own now"}
            assert demo.post("/users/me/password", json=change).status_code == 204
    assert stack.stop() == 0
    assert not stack.processes()
    # As a container's restart leaves them: the number is a stranger's now, here ours.
    cluster = home / "data" / "postgres" / "cluster"
    lines = f"{os.getpid()}\n{cluster}\n1\n5432\n{home / 'run'}\n\n"
    (cluster / "postmaster.pid").write_text(lines)
    (home / "run").mkdir(mode=0o700)
    os.chown(home / "run", cluster.stat().st_uid, cluster.stat().st_gid)
    (home / "run" / ".s.PGSQL.5432.lock").write_text(lines)
    (home / "run" / "redis.sock").write_text("")
    (home / "stack.json").write_text(json.dumps({"database_url": "postgresql://gone/", "pid": 1}))
    # Somebody's shell that happens to stand there is no leftover of ours.
    stranger = subprocess.Popen(["sleep", "300"], cwd=cluster)
    stack.start()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    assert stack.answers("keeper")
    wait_until(lambda: "name demo, password changed since" in stack.output, "no summary")
    assert (home / "secret").read_text() == secret
    assert stack.stop() == 0


@pytest.mark.parametrize("victim", ["postmaster", "backend", "redis", "api", "worker", "ws"])
def test_killed_part_is_recovered(running: Stack, victim: str) -> None:
    username = f"before-{victim}"
    with Client(running.url) as somebody:
        somebody.user(username=username)
    postmaster, api = running.server("postgres"), running.server("api")
    backends = [found for found in postmaster.children() if "idle" in " ".join(found.cmdline())]
    killed = {
        "postmaster": postmaster,
        "backend": backends[0],
        "redis": running.server("redis"),
        "api": api,
        "worker": api.children()[0],
        "ws": running.server("ws"),
    }[victim]
    restarts = running.output.count("runs again")
    killed.kill()
    wait_until(lambda: not killed.is_running(), f"{victim} did not die")
    if victim in ("postmaster", "redis", "api", "ws"):
        wait_until(lambda: running.output.count("runs again") > restarts, f"no new {victim}")
    wait_until(lambda: running.answers(username), f"{victim} was not recovered")
    # No worker of a dead API serves on beside the new one.
    family = running.server("api")
    assert {family.pid, *(child.pid for child in family.children())} == {
        process.pid for process in services_of(running.home, "api")
    }


def test_second_up_and_clean_are_refused(running: Stack) -> None:
    for verb in ("up", "clean"):
        line = refusal(running.run(verb))
        assert f"already runs on {running.home} (pid {running.process.pid})" in line
        # Who starts it again wants to see it, most likely.
        assert line.rstrip().endswith(f": open {running.url}") is (verb == "up")
    assert running.reached()


def test_real_servers_replace_the_embedded_ones(
    running: Stack, place: Path, postgres_server: PostgresServer
) -> None:
    urls = wait_until(running.reached, "not running")
    real = new_database(postgres_server)
    only_database = Stack(place / "external", DATABASE_URL=real)
    reached = only_database.start()
    assert "postgres" not in only_database.programs()
    assert any(name.startswith(("redis", "valkey")) for name in only_database.programs())
    assert reached["database_url"] == real
    assert nobody_is_there(only_database)
    # Whoever is a superuser there does not get in for that.
    assert "/lab" not in only_database.output
    assert reached["redis_url"] == f"unix://{only_database.home}/run/redis.sock"
    assert only_database.stop() == 0
    environment = {"DATABASE_URL": urls["database_url"], "REDIS_URL": urls["redis_url"]}
    both = Stack(place / "external", **environment, EVENTS_URL="redis://127.0.0.1:1/")
    reached = both.start()
    # The API and the websocket server, once what helped to start them has ended.
    wait_until(lambda: len(both.programs()) == 2, "other processes were started")
    assert (reached["redis_url"], reached["events_url"]) == (
        urls["redis_url"],
        "redis://127.0.0.1:1/",
    )
    assert both.stop() == 0
    assert not both.processes()


@pytest.mark.parametrize("victims", ["up", "everything"])
def test_killed_supervisor_is_recovered_by_the_next_start(
    template: Path, home: Path, victims: str
) -> None:
    # Too long for a socket's path.
    far = home / ("d" * 100)
    subprocess.run(["cp", "-a", template, far], check=True)
    stack = Stack(far)
    reached = stack.start()
    assert len(reached["redis_url"].removeprefix("unix://")) < 100
    with Client(stack.url) as somebody:
        somebody.user(username="survivor")
    killed = [psutil.Process(stack.process.pid)]
    if victims == "everything":
        # All but the API's worker, which has nobody left that could tell it.
        killed += [*killed[0].children(), *stack.server("postgres").children()]
    for process in killed:
        # The first one's death may have ended the others.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    stack.process.wait()
    if victims == "up" and sys.platform == "linux":
        wait_until(lambda: not stack.processes(), "a process outlives its supervisor")
    stack.start()
    assert stack.answers("survivor")
    assert stack.stop() == 0
    assert not Path(reached["redis_url"].removeprefix("unix://")).parent.exists()
    assert not stack.processes()


def test_stop_ends_an_api_that_hangs(home: Path) -> None:
    stack = Stack(home, HLFAST_DRAIN_TIMEOUT_S="1")
    stack.start()
    for process in (stack.server("api"), *stack.server("api").children()):
        process.suspend()
    assert stack.stop() == 0
    assert not stack.processes()


def test_second_signal_kills_at_once(home: Path) -> None:
    stack = Stack(home)
    stack.start()
    stack.server("api").suspend()
    stack.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in stack.output, "the first signal was ignored")
    assert stack.stop(signal.SIGINT) == 1
    wait_until(lambda: not stack.processes(), "a process is left")


def test_signal_during_the_first_start(place: Path) -> None:
    stack = Stack(place / "interrupted", HLFAST_DEMO="false")
    stack.launch()
    wait_until(lambda: "making the database cluster" in stack.output, "no start")
    assert stack.stop(signal.SIGINT) == 0
    assert not stack.processes()
    stack.start()
    assert nobody_is_there(stack)
    assert stack.stop() == 0


def test_port_in_use(home: Path) -> None:
    stack = Stack(home)
    with socket.create_server(("127.0.0.1", stack.port)):
        line = refusal(stack.run("up"))
    assert f"cannot listen on port {stack.port}" in line


def test_cluster_of_another_version(home: Path) -> None:
    (home / "data" / "postgres" / "cluster" / "PG_VERSION").write_text("16\n")
    assert "was made by PostgreSQL 16, this is 18" in refusal(Stack(home).run("up"))


def test_damaged_cluster(home: Path) -> None:
    (home / "data" / "postgres" / "cluster" / "PG_VERSION").unlink()
    assert "is damaged" in refusal(Stack(home).run("up"))


def test_home_of_something_else(place: Path) -> None:
    stack = Stack(place / "foreign")
    stack.home.mkdir()
    (stack.home / "thesis.txt").write_text("years of work")
    for verb in ("up", "clean"):
        assert "does not hold data of hlfast" in refusal(stack.run(verb))
    assert [entry.name for entry in stack.home.iterdir()] == ["thesis.txt"]


def test_no_permission_to_write(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "closed" / "home")
    stack.home.parent.mkdir(mode=0o555)
    # Root passes every check of a mode, unless it gives up the power to.
    as_others = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    if IS_ROOT:
        os.chown(stack.home.parent, 65534, -1)
    line = refusal(stack.run("up", prefix=as_others if IS_ROOT else ()))
    assert f"no permission to write to {stack.home}" in line


@pytest.mark.skipif(not IS_ROOT, reason="only root starts servers as somebody else")
def test_home_that_the_servers_user_cannot_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for home in (tmp_path / "home", tmp_path / "new" / "deep" / "home"):
        stack = Stack(home)
        assert f"cannot get to {stack.home}" in refusal(stack.run("up"))
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        # It was ours alone to take away again; a directory that was there stays.
        assert list(tmp_path.iterdir()) == []
    home = tmp_path / "home"
    home.mkdir()
    assert f"cannot get to {home}" in refusal(Stack(home).run("up"))
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="everybody else hears so from the kernel")
def test_a_port_that_only_root_may_have(home: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("any user may listen on any port here")
    line = refusal(Stack(home, HLFAST_HTTP_PORT="80").run("up"))
    assert "port 80 is for root alone" in line
    assert "HLFAST_HTTP_PORT" in line


def test_clean_ends_leftovers_first(home: Path) -> None:
    stack = Stack(home)
    stack.start()
    api = stack.server("api")
    # Its worker has nobody left that could tell it.
    for process in (stack.process, api):
        process.kill()
    stack.process.wait()
    assert stack.run("clean", "--yes")[0] == 0
    assert not stack.processes()
    assert not home.exists()
    assert "nothing to wipe" in stack.run("clean")[1]
