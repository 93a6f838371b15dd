"""HAProxy's timeouts: every configuration here is one that HAProxy itself accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hl_utils.check import haproxy
from tests.check.command import found, wrong

DEFAULTS = """\
global
    presetenv API_PORT 8000   # a comment
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server {server}
"""
SPLIT = """\
frontend front
    bind 127.0.0.1:9999
    acl live path /ws
    use_backend websockets if live
    default_backend apis
backend apis
    timeout server 3s
    server one "127.0.0.1:${{API_PORT}}"
backend websockets
    {tunnel}
    server one 127.0.0.1:8001
"""


def configuration(tmp_path: Path, text: str) -> Path:
    """A file with it, which HAProxy has found valid."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    assert program, "HAProxy is not installed (Debian: apt-get install haproxy)"
    done = subprocess.run([program, "-c", "-f", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def split(tunnel: str = "", server: str = "30s") -> str:
    """The API and the websockets behind one front door."""
    return DEFAULTS.format(server=server) + SPLIT.format(tunnel=tunnel)


SOUND = {
    "a tunnel of its own": split("timeout tunnel 1h"),
    "a tunnel in days": split("timeout tunnel 1d"),
    "a tunnel in milliseconds": split("timeout tunnel 3600000"),
    "no tunnel, and longer ones": split(),
    "a tunnel instead of shorter ones": split("timeout tunnel 1h", server="1s"),
    "a tunnel in the defaults": DEFAULTS.format(server="1s")
    + "    timeout tunnel 26s\n"
    + SPLIT.format(tunnel=""),
    "a tunnel in named defaults": DEFAULTS.format(server="1s")
    + "defaults long from \n".replace(" from ", "")
    + "    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
    + "    timeout tunnel 1m\n"
    + SPLIT.format(tunnel="").replace("backend websockets\n", "backend websockets from long\n"),
    "nothing but a tunnel in a rule": split("http-request set-timeout tunnel 1h", server="1s"),
    "one section": DEFAULTS.format(server="30s")
    + "listen all\n    bind 127.0.0.1:9999\n    server one 127.0.0.1:8001\n",
    "from the environment": split('timeout tunnel "${HLFAST_NOT_SET-1h}"'),
    "a template of servers": split("timeout tunnel 1h").replace(
        "server one 127.0.0.1:8001", "server-template ws 4 127.0.0.1:8001"
    ),
}
BROKEN = {
    "a tunnel that is too short": (
        split("timeout tunnel 20s"),
        ["timeout tunnel of backend websockets is 20 s"],
    ),
    "the ping itself": (
        split("timeout tunnel 25s"),
        ["timeout tunnel of backend websockets is 25 s"],
    ),
    "milliseconds by mistake": (
        split("timeout tunnel 3600"),
        ["timeout tunnel of backend websockets is 3.6 s"],
    ),
    "microseconds": (
        split("timeout tunnel 1000000us"),
        ["timeout tunnel of backend websockets is 1 s"],
    ),
    "no tunnel, and shorter ones": (
        split(server="10s").replace(
            "timeout client 30s", "timeout client 0.5m".replace("0.5m", "9s")
        ),
        [
            "timeout client of frontend front is 9 s",
            "timeout server of backend websockets is 10 s",
        ],
    ),
    "a tunnel of the defaults, shortened": (
        split("timeout tunnel 5s").replace(
            "timeout client", "timeout tunnel 1h\n    timeout client"
        ),
        ["timeout tunnel of backend websockets is 5 s"],
    ),
    "later defaults forget the earlier ones": (
        DEFAULTS.format(server="1s")
        + "    timeout tunnel 1h\n"
        + DEFAULTS.format(server="1s").partition("defaults")[2].join(["defaults", ""])
        + SPLIT.format(tunnel=""),
        ["timeout server of backend websockets is 1 s"],
    ),
    "a condition without a name": (
        split("timeout tunnel 5s").replace("if live", "if { path_beg /ws }"),
        ["timeout tunnel of backend websockets is 5 s"],
    ),
    "one section": (
        DEFAULTS.format(server="10s")
        + "listen all\n    bind 127.0.0.1:9999\n    server one 127.0.0.1:8001\n",
        ["timeout server of listen all is 10 s"],
    ),
    "from the environment": (
        split('timeout tunnel "${HLFAST_NOT_SET-10s}"'),
        ["timeout tunnel of backend websockets is 10 s"],
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound(tmp_path: Path, name: str) -> None:
    answers = haproxy.look(configuration(tmp_path, SOUND[name]), 25.0, 8001)
    assert answers
    assert [one for one in answers if one] == []


@pytest.mark.parametrize("name", BROKEN)
def test_broken(tmp_path: Path, name: str) -> None:
    text, said = BROKEN[name]
    findings = [one for one in haproxy.look(configuration(tmp_path, text), 25.0, 8001) if one]
    assert {one.code for one in findings} == {"haproxy-timeout"}
    assert [one.what.partition(",")[0] for one in findings] == said


def test_the_command(sound: dict[str, str], tmp_path: Path) -> None:
    path = configuration(tmp_path, split("timeout tunnel 30s"))
    assert found(sound, "--haproxy", path) == []
    slower = sound | {"HLFAST_WS_PING_S": "30"}
    assert wrong(slower, "--haproxy", path) == ["haproxy-timeout haproxy.cfg"]


def test_a_file_that_cannot_be_read(sound: dict[str, str], tmp_path: Path) -> None:
    assert wrong(sound, "--haproxy", tmp_path / "none.cfg") == ["haproxy-unreadable none.cfg"]
    broken = tmp_path / "broken.cfg"
    broken.write_text(split("timeout tunnel soon"))
    findings = found(sound, "--haproxy", broken)
    assert [one["code"] for one in findings] == ["haproxy-unreadable"]
    assert "line 17" in findings[0]["what"]
