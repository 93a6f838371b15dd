"""Unknown parameters are refused everywhere, and a problem is no longer than it need be."""

from __future__ import annotations

import pytest

from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import Endpoint
from tests.clients import Client

pytestmark = pytest.mark.one_database

LONGEST = 16_384


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_an_unknown_parameter(client: Client, row: Endpoint) -> None:
    me, other = client.user(), client.user()
    path = row.path.replace("{id}", str(other.id)).replace("{user_id}", str(other.id))
    post = me.write()
    body = {"content": "x"} if row.body else None
    for query in ("x=1", "limits=5", "LIMIT=5", "x", "first_name=a&x=1", "%6c=1"):
        answer = me.request(row.method, f"{path}?{query}", json=body)
        assert answer.status_code == 422, query
        assert list({error["loc"][0] for error in answer.json()["errors"]}) == ["query"]
    for query, status in (("x=%ff", 400), ("&".join(f"a{n}=1" for n in range(40)), 400)):
        assert me.request(row.method, f"{path}?{query}", json=body).status_code == status
    # Nothing of it has happened.
    assert me.get(f"/posts/{post['id']}").json() == post
    assert me.items("/dialogs") == me.items("/friends/requests") == []


def test_what_is_empty_has_no_parameter(client: Client) -> None:
    me = client.user()
    for path in ("/users/me?", "/users/me?&", "/feed?", "/friends?&&"):
        assert me.get(path).status_code == 200, path


def test_a_form_may_have_more(client: Client) -> None:
    me = client.user()
    form = {"username": me.username, "password": "wrong", "client_id": "", "x": "1"}
    assert client.post("/login", data=form).status_code == 401


@pytest.mark.parametrize(
    "content",
    [
        b"{%b}" % b",".join(b'"%d":1' % n for n in range(7000)),
        b'{"%b":1}' % (b"x" * 65_000),
        b"{%b}" % b",".join(b'"%b%d":1' % ("é".encode() * 500, n) for n in range(60)),
        b"[%b]" % b",".join([b"1"] * 30_000),
        b'"%b"' % (b"x" * 65_000),
    ],
    ids=["many", "long", "many long", "list", "text"],
)
def test_a_problem_is_bounded(client: Client, content: bytes) -> None:
    assert len(content) <= 65_536
    for path in ("/users", "/posts"):
        answer = client.user().post(path, content=content)
        assert answer.status_code == 422
        assert len(answer.content) < LONGEST
        assert 1 <= len(answer.json()["errors"]) <= 20


def test_a_repeated_parameter_of_a_long_name(client: Client) -> None:
    name = "x" * 4000
    answer = client.get(f"/users/search?{name}=1&{name}=2")
    assert answer.status_code == 422
    assert len(answer.content) < LONGEST


def test_what_is_not_allowed_is_said(client: Client) -> None:
    detail = client.get("/login").json()["detail"]
    assert detail == "GET is not allowed here, but POST."
    detail = client.request("X" * 2000, "/users/1").json()["detail"]
    assert detail.startswith("XXX") and detail.endswith("GET, HEAD, PATCH.") and len(detail) < 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/openapi.json"])
def test_pages_are_framed_by_nobody(client: Client, path: str) -> None:
    answer = client.get(client.root + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"].split("; ")
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
