"""X-Request-ID: on every kind of answer, the caller's own where it is a sane one."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from tests import wire
from tests.clients import PASSWORD, Client
from tests.http import Response

pytestmark = pytest.mark.one_database

OWN = "Own.Request_ID-1"


def taken(me: Client) -> dict[str, str]:
    """A registration of a name that somebody has."""
    names = {"first_name": "A", "last_name": "B"}
    return {"username": me.username, "password": PASSWORD, **names}


# A name, and what makes an answer of that kind: who asks, and the header to send along.
ANSWERS: dict[str, tuple[int, Callable[[Client, dict[str, str]], Response]]] = {
    "200": (200, lambda me, own: me.get("/users/me", headers=own)),
    "201": (201, lambda me, own: me.post("/posts", json={"content": "x"}, headers=own)),
    "204": (204, lambda me, own: me.delete(f"/posts/{me.write()['id']}", headers=own)),
    "304": (304, lambda me, own: me.get("/users/me", headers={"If-None-Match": "*"} | own)),
    "400": (400, lambda me, own: me.post("/posts", content=b"{", headers=own)),
    "401": (401, lambda me, own: me.get("/users/me", headers={"Authorization": "x"} | own)),
    "401 login": (401, lambda me, own: me.login(me.username, "not this one", **own)),
    "403": (403, lambda me, own: me.patch(f"/users/{me.id}", json={}, headers=own)),
    "404": (404, lambda me, own: me.get("/posts/0", headers=own)),
    "404 path": (404, lambda me, own: me.get("/nothing", headers=own)),
    "404 outside": (404, lambda me, own: me.get(f"{me.root}/nothing", headers=own)),
    "405": (405, lambda me, own: me.put("/posts/1", headers=own)),
    "405 docs": (405, lambda me, own: me.post(f"{me.root}/docs", headers=own)),
    "409": (409, lambda me, own: me.post("/users", json=taken(me), headers=own)),
    "413": (413, lambda me, own: me.post("/posts", content=b" " * 65537, headers=own)),
    "422": (422, lambda me, own: me.post("/posts", json={}, headers=own)),
    "HEAD": (200, lambda me, own: me.head("/users/me", headers=own)),
    "HEAD 404": (404, lambda me, own: me.head("/nothing", headers=own)),
} | {
    path: (200, lambda me, own, path=path: me.get(me.root + path, headers=own))  # type: ignore[misc]
    for path in (
        "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect",
        "/static-offline-docs/swagger-ui.css",
        "/health/live", "/health/ready", "/health/dependencies", "/metrics",
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def me(api: object) -> Client:
    """Somebody with a token."""
    with Client(api.url) as client:  # type: ignore[attr-defined]
        return client.user()


@pytest.mark.parametrize("kind", ANSWERS)
def test_on_every_kind_of_answer(me: Client, kind: str) -> None:
    status, make = ANSWERS[kind]
    answer = make(me, {"X-Request-ID": OWN})
    assert answer.status_code == status
    assert answer.headers["x-request-id"] == OWN
    made = {make(me, {}).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert OWN not in made


@pytest.mark.parametrize("own", ["0", "x" * 128, string.ascii_letters + string.digits + "._-"])
def test_sane_ones_come_back(me: Client, own: str) -> None:
    for path in ("/users/me", "/nothing"):
        assert me.get(path, headers={"X-Request-ID": own}).headers["x-request-id"] == own


@pytest.mark.parametrize(
    "other",
    [b"", b"x" * 129, b"a b", b"a/b", b"a,b", b"\xc3\xa9", b"\xff", b"a\tb", b"<b>", b"x" * 9000],
)
def test_others_are_replaced(client: Client, other: bytes) -> None:
    made = {
        wire.get(client.root, path, b"X-Request-ID: " + other).headers["x-request-id"]
        for path in (b"/api/v1/users/1", b"/nothing", b"/docs")
    }
    assert len(made) == 3
    assert other.decode("latin-1") not in made
