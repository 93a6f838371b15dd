"""`hlfast check` as an operator meets it: lines, colours, exit codes, servers that are away."""

from __future__ import annotations

import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hl_utils.check.run import KINDS
from hl_utils.servers import families
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT
from hl_utils.servers.redis import LogRedisServer
from hl_utils.servers.services import SECRET, Api
from hl_utils.servers.sql import migrate
from tests.check.command import checked, codes, found, random_secret, run, shown, wrong
from tests.conftest import TEMPLATE

PASSWORD = "s3cr3t-in-the-url"
AWAY = {
    "DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/away",
    "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1",
    "EVENTS_URL": f"amqp://user:{PASSWORD}@127.0.0.1:1/",
}


def test_a_sound_stack(sound: dict[str, str]) -> None:
    done = run(sound)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d{2,} checks, no errors, no warnings\n", done.stdout)
    assert shown(sound, "--json") == (0, "[]\n")


def test_servers_that_are_away_keep_nobody_from_looking_at_the_rest(sound: dict[str, str]) -> None:
    done = run(sound | AWAY | {"HLFAST_SECRET": "short"}, "--json")
    findings = checked(done.stdout, done.returncode)
    assert done.stderr == ""
    assert codes(findings) == [
        "secret-short HLFAST_SECRET",
        "unreachable database",
        "unreachable events",
        "unreachable redis",
    ]
    code, printed = shown(sound | AWAY)
    assert code == 1
    assert PASSWORD not in printed
    assert printed.endswith("3 errors, no warnings\n")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{PASSWORD}@[/x",
        f"mysql://user:{PASSWORD}@host:port/x",
        f"what://user:{PASSWORD}@host/x",
    ],
)
def test_urls_that_are_none(sound: dict[str, str], url: str) -> None:
    for name, subject in (("DATABASE_URL", "database"), ("REDIS_URL", "redis")):
        findings = found(sound | {"EVENTS_URL": sound["REDIS_URL"], name: url})
        assert codes(findings) == [f"unreachable {subject}"]
        assert PASSWORD not in str(findings)
    findings = found(sound | {"EVENTS_URL": url.replace("postgresql", "amqp")})
    assert codes(findings) == ["unreachable events"]
    assert PASSWORD not in str(findings)


def test_servers_that_hang(sound: dict[str, str]) -> None:
    with PostgresServer() as postgres, LogRedisServer() as redis:
        environment = sound | {
            "DATABASE_URL": migrate(postgres, TEMPLATE),
            "REDIS_URL": redis.url,
        }
        assert found(environment) == []
        for server in (postgres, redis):
            families.freeze(server.process)
        # `run` bounds the time.
        done = run(environment, "--json")
        for server in (postgres, redis):
            server.process.send_signal(signal.SIGCONT)
        findings = checked(done.stdout, done.returncode)
        assert codes(findings) == ["unreachable database", "unreachable redis"]


@pytest.mark.parametrize(
    ("name", "scheme", "subject"),
    [
        ("DATABASE_URL", "postgresql", "database"),
        ("DATABASE_URL", "mysql", "database"),
        ("REDIS_URL", "redis", "redis"),
        ("EVENTS_URL", "amqp", "events"),
    ],
)
def test_a_port_that_accepts_and_says_nothing(
    sound: dict[str, str], name: str, scheme: str, subject: str
) -> None:
    events = {"EVENTS_URL": sound["REDIS_URL"]}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://user:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/0"
        findings = found(sound | events | {name: url})
    assert codes(findings) == [f"unreachable {subject}"]
    assert PASSWORD not in str(findings)


def test_what_is_not_set(sound: dict[str, str]) -> None:
    nothing = {
        name: value
        for name, value in sound.items()
        if name not in ("DATABASE_URL", "REDIS_URL", "HLFAST_SECRET")
    }
    assert wrong(nothing) == ["secret-short HLFAST_SECRET", "unset database", "unset redis"]


def test_a_setting_that_is_none_is_one_line(sound: dict[str, str]) -> None:
    done = run(sound | {"HLFAST_HTTP_PORT": "none"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hlfast: the setting HLFAST_HTTP_PORT is not acceptable")


@pytest.fixture
def clocks(tmp_path: Path) -> dict[str, str]:
    """Variables with which a Python tells the time of 30 seconds ago."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() - 30\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_clocks_that_differ(sound: dict[str, str], clocks: dict[str, str]) -> None:
    done = run(sound | clocks, "--json")
    findings = checked(done.stdout, done.returncode)
    assert codes(findings) == ["clock-skew database", "clock-skew redis"]
    for finding in findings:
        assert finding["level"] == "warning"
        assert re.match(r"its clock is (29|30)\.\d s ahead of this machine's", finding["what"])


def test_lines_are_aligned_and_plain(sound: dict[str, str]) -> None:
    done = run(sound | AWAY | {"HLFAST_SECRET": "short"}, files_max=400)
    lines = done.stdout.splitlines()
    assert lines[-1].endswith(" checks, 4 errors, 2 warnings")
    assert len(lines) == 7
    assert [line.split()[0] for line in lines[:-1]] == ["error"] * 4 + ["warning"] * 2
    starts = {
        tuple(match.start() for match in re.finditer(r"(?<=  )\S+", line))[:3]
        for line in lines[:-1]
    }
    assert len(starts) == 1
    assert all(" — " in line and " → " in line for line in lines[:-1])
    assert "\033" not in done.stdout


def test_a_terminal_has_colours_and_an_edge(sound: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hl_utils", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "110", **sound, **AWAY},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 1
    text = shown.decode()
    assert text.count("\033[31merror\033[0m") == 3
    plain = re.sub(r"\033\[\d+m", "", text).splitlines()
    assert max(map(len, plain)) <= 110
    assert len(plain) > 4


def test_open_files(sound: dict[str, str]) -> None:
    """500 connections, two pools of 8 and some more; a node has one that it dismissed, too."""
    for files_max, subjects in (
        (10_000, []),
        (579, ["api", "websocket"]),
        (580, ["websocket"]),
        (581, []),
    ):
        done = run(sound, "--json", files_max=files_max)
        findings = checked(done.stdout, done.returncode)
        assert codes(findings) == [f"open-files {subject}" for subject in subjects]
    done = run(sound | {"HLFAST_WS_CONNECTIONS_MAX": "600"}, "--json", files_max=600)
    assert codes(checked(done.stdout, done.returncode)) == ["open-files websocket"]


def test_the_api_takes_as_many_files_as_it_may(shared_url: str, log_redis: LogRedisServer) -> None:
    """The soft limit, often 1,024, is no bound of ours: so only the hard one is checked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Api(shared_url, log_redis.url) as api:
            workers = psutil.Process(api.process.pid).children(recursive=True)
            limits = {worker.rlimit(psutil.RLIMIT_NOFILE)[0] for worker in workers}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert limits == {hard}


def test_every_code_is_in_the_manual() -> None:
    manual = (ROOT / "hl_utils" / "check" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|", manual, re.MULTILINE)
    assert rows == [(kind.code, kind.level) for kind in KINDS]


def test_every_code_is_tested() -> None:
    here = Path(__file__).parent
    places = (here, here.parent / "citus")
    text = "".join(path.read_text() for place in places for path in place.glob("test_*.py"))
    missing = [kind.code for kind in KINDS if not re.search(rf"[\"' ]{kind.code}[\"' ]", text)]
    assert missing == []
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_no_secret_of_the_tests_is_shown(sound: dict[str, str]) -> None:
    secret = random_secret()
    assert secret not in shown(sound | {"HLFAST_SECRET": secret})[1]
    assert SECRET not in shown(sound | {"HLFAST_SECRET": SECRET})[1]
