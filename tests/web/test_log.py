"""What the API writes to its log."""

from __future__ import annotations

import re
import secrets

import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.services import SECRET, Api
from tests import wire
from tests.clients import Client

pytestmark = pytest.mark.one_database


def test_no_secret_and_no_token_is_ever_written(several: Api) -> None:
    """The access log is on, and every way to fail is tried."""
    password, wrong, new = (f"{word}-{secrets.token_hex(8)}" for word in ("pass", "wrong", "new"))
    with Client(several.url) as client:
        me = client.user(password=password)
        pair = client.login(me.username, password).json()
        client.login(me.username, wrong)
        client.get("/users/me", headers={"Authorization": f"Bearer {wrong}"})
        client.get(f"/users/me?token={wrong}")
        client.post("/login", content=f'{{"password": "{wrong}'.encode())
        client.post("/users", content=f'{{"password": "{wrong}'.encode())
        client.post("/users", json={"password": wrong, "username": "\0"})
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        client.post("/login", data=form)
        client.post("/login", data=form | {"refresh_token": pair["access_token"]})
        content = me.write(wrong)["content"]
        change = {"old_password": wrong, "new_password": new}
        assert me.post("/users/me/password", json=change).status_code == 403
        change = {"old_password": password, "new_password": new}
        assert me.post("/users/me/password", json=change).status_code == 204
        assert client.post("/login", data=form).status_code == 401
        marker = f"/api/v1/{secrets.token_hex(8)}"
        assert wire.get(client.root, f"{marker}?token={wrong}".encode()).status == 404
    wait_until(lambda: marker in several.log, "no access log")
    log = several.log
    mine = me.headers["authorization"].removeprefix("Bearer ")
    tokens = (mine, pair["access_token"], pair["refresh_token"])
    for secret in (password, wrong, new, content, SECRET, *tokens):
        assert secret not in log
    assert "Traceback" not in log


def test_every_line_has_a_time(several: Api) -> None:
    """And the first ones say where it listens."""
    lines = several.log.splitlines()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[[A-Z]+\] ", line), line
    assert any(line.endswith(f"Listening at: {several.url}") for line in lines)


def test_bodies_that_break_off_leave_no_traceback(several: Api) -> None:
    start = b"POST /api/v1/users HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{"
    with Client(several.url) as client:
        for _ in range(5):
            wire.leave(client.root, start)
        marker = f"/api/v1/{secrets.token_hex(8)}"
        client.get(client.root + marker)
    wait_until(lambda: marker in several.log, "no access log")
    assert "Traceback" not in several.log
    # The tests' Redis is no log for production, and says so.
    errors = [line for line in several.log.splitlines() if "[ERROR]" in line]
    assert all("appendfsync" in line for line in errors)
