"""What goes in: bodies and queries that no endpoint accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from hl_utils.servers.services import Api
from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import Endpoint
from tests import wire
from tests.clients import PASSWORD, Client
from tests.superusers import superuser

WITH_BODY = [row for row in ENDPOINTS if row.body is not None]
WITH_QUERY = [row for row in ENDPOINTS if row.query is not None]
BODY_BYTES_MAX = 65536
GOOD: dict[str, dict[str, Any]] = {
    "/users": {"username": "x" * 40, "password": PASSWORD, "first_name": "A", "last_name": "B"},
    "/users/me": {"first_name": "A", "bio": "B"},
    "/users/me/password": {"old_password": PASSWORD, "new_password": PASSWORD},
    "/users/{id}": {"disabled": False},
    "/posts": {"content": "A", "client_id": "c"},
    "/posts/{id}": {"content": "A"},
    "/dialogs/{user_id}/messages": {"content": "A", "client_id": "c"},
    "/dialogs/{user_id}/read": {"up_to": 1},
    "/lab": {"keep_bodies": True},
}


@pytest.fixture(scope="module")
def world(api: Api) -> tuple[Client, dict[str, str]]:
    """A superuser, who may call everything, and the paths with ids of what is theirs."""
    me = superuser(api)
    other = Client(api.url).user()
    post = me.write()
    me.send_to(other)
    paths = {row.path: row.path.replace("{user_id}", str(other.id)) for row in ENDPOINTS}
    paths |= {
        path: path.replace("{id}", str(post["id"] if path.startswith("/posts") else other.id))
        for path in paths
        if "{id}" in path
    }
    return me, paths


@pytest.fixture(params=WITH_BODY, ids=lambda row: row.name)
def send(request: Any, world: tuple[Client, dict[str, str]]) -> Iterator[Any]:
    """Sends bytes to an endpoint that takes a JSON body; the answer."""
    row: Endpoint = request.param
    me, paths = world

    def send_body(body: bytes, **headers: str) -> Any:
        headers = {"content-type": "application/json"} | headers
        return me.request(row.method, paths[row.path], content=body, headers=headers)

    send_body.row = row  # type: ignore[attr-defined]
    yield send_body


MALFORMED = [
    b"", b" ", b"{", b"}", b"{}}", b'{"a":}', b'{"a":1,}', b"{'a': 1}", b"{a: 1}", b"NaN", b"nul",
    b'{"content": NaN}', b'{"content": 1e999}', b"\xff", b'{"content": "\xff"}', b'{"\xc3": 1}',
    b'{"content": "\xed\xa0\x80"}', b'{"content": "\xc0\xaf"}',  # a surrogate, an overlong one
    b'{"content": "\\ud800"}', b'{"content": "\\udc00"}', b'{"content": "\\udc00\\ud800"}',
    b'{"\\ud800": 1}', b'{"content": "\\u12"}', b'{"content": "\\x41"}', b'{"content": "\n"}',
    b'{"content": "\x00"}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32"),
    b'{"content": "A"} // comment', b'{"content": "A"}{}', b"\x00", b"[" * 60_000,
    b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"content=A",
]  # fmt: skip


def test_malformed_json(send: Any) -> None:
    for body in MALFORMED:
        assert send(body).status_code == 400, body[:50]


def test_json_that_is_no_object(send: Any) -> None:
    for body in (b"null", b"true", b"5", b'"A"', b"[]", b'[{"content": "A"}]'):
        refused = send(body)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["loc"] == ["body"]


def test_unknown_fields(send: Any) -> None:
    for name in ("unknown", "", "id", "__proto__", "nul\0", "é", "x" * 1000):
        refused = send(json.dumps(GOOD[send.row.path] | {name: None}).encode())
        assert refused.status_code == 422
        assert ["body", name] in [error["loc"] for error in refused.json()["errors"]]


def test_nul_in_any_text(send: Any) -> None:
    texts = [name for name, value in GOOD[send.row.path].items() if isinstance(value, str)]
    for name in texts:
        for text in ("\0", "abc\0defgh", "abcdefgh\0"):
            refused = send(json.dumps(GOOD[send.row.path] | {name: text}).encode())
            assert refused.status_code == 422
            assert ["body", name] in [error["loc"] for error in refused.json()["errors"]]


def test_types_are_strict(send: Any) -> None:
    wrong: dict[type, Sequence[Any]] = {
        str: [5, 1.5, True, None, [], {}, ["A"]],
        int: ["5", "1", 1.0, 1.5, True, None, [], {}],
        bool: ["true", "false", 0, 1, "", None, [], {}],
    }
    for name, value in GOOD[send.row.path].items():
        optional = name in ("client_id", "bio")
        for other in wrong[type(value)]:
            if other is None and optional:
                continue
            refused = send(json.dumps(GOOD[send.row.path] | {name: other}).encode())
            assert refused.status_code == 422, (name, other)
            assert ["body", name] in [error["loc"] for error in refused.json()["errors"]]


def test_64_kib_and_not_one_byte_more(send: Any) -> None:
    """Whitespace counts as well; at the limit it is the endpoint that answers."""
    good = json.dumps(GOOD[send.row.path] | {"unknown": 1}).encode()
    assert send(good.ljust(BODY_BYTES_MAX)).status_code == 422
    assert send(good.ljust(BODY_BYTES_MAX + 1)).status_code == 413
    assert send(b"{".ljust(1_000_000)).status_code == 413


def test_64_kib_in_chunks(send: Any) -> None:
    good = json.dumps(GOOD[send.row.path] | {"unknown": 1}).encode()

    def chunks(length: int) -> Iterator[bytes]:
        body = good.ljust(length)
        for start in range(0, length, 10_000):
            yield body[start : start + 10_000]

    assert send(chunks(BODY_BYTES_MAX)).status_code == 422
    assert send(chunks(BODY_BYTES_MAX + 1)).status_code == 413


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked", b"Content-Length: 10000000000"])
def test_refused_while_it_is_read(client: Client, head: bytes) -> None:
    """The end of the body never comes, and the answer does."""
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    start = b"POST /api/v1/users HTTP/1.1\r\nHost: test\r\n" + head + b"\r\n\r\n"
    answer = wire.ask(client.root, start, *[chunk] * 4, b"1\r\n \r\n")
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_a_body_that_breaks_off(client: Client) -> None:
    """Neither the answer nor the log says that the server made a mistake."""
    start = b"POST /api/v1/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = wire.ask(client.root, start + b"nonsense\r\n")
    assert answer.status == 400


GARBAGE = [
    "", "x", "-1", "+1", "1.5", "1.0", "1e1", "0x1", "%201", "1%20", "%D9%A1", "%EF%BC%91", "true",
    "null", "1,2", "%00", "9" * 17, "9" * 1000, "'", "1;2",
]  # fmt: skip
CURSORS = {
    row.path: [name for name in ("before", "after") if name in row.query.model_fields]
    for row in WITH_QUERY
    if row.query is not None and "limit" in row.query.model_fields
}


@pytest.fixture(params=[row for row in WITH_QUERY if row.path in CURSORS], ids=lambda row: row.name)
def ask(request: Any, world: tuple[Client, dict[str, str]]) -> Any:
    """Asks an endpoint that takes a query; the answer."""
    row: Endpoint = request.param
    me, paths = world

    def ask_for(query: str) -> Any:
        needed = "first_name=a&" if row.path == "/users/search" else ""
        return me.get(f"{paths[row.path]}?{needed}{query}")

    ask_for.row = row  # type: ignore[attr-defined]
    return ask_for


def test_every_list_has_a_limit_and_a_cursor(ask: Any) -> None:
    for good in ("", "limit=1", "limit=100", "limit=007", "&&", "limit=5&&"):
        assert ask(good).status_code == 200, good
    for unknown in ("unknown=1", "Limit=5", "limit%20=5", "limit=5&x"):
        assert ask(unknown).status_code == 422, unknown


def test_limits(ask: Any) -> None:
    for garbage in [*GARBAGE, "0", "101", "1000"]:
        refused = ask(f"limit={garbage}")
        assert refused.status_code == 422, garbage
        assert refused.json()["errors"][0]["loc"] == ["query", "limit"]


def test_cursors(ask: Any) -> None:
    for name in CURSORS[ask.row.path]:
        for garbage in GARBAGE:
            refused = ask(f"{name}={garbage}")
            assert refused.status_code == 422, garbage
            assert refused.json()["errors"][0]["loc"] == ["query", name]


def test_a_parameter_given_twice(ask: Any) -> None:
    for name in ("limit", *CURSORS[ask.row.path]):
        other_spelling = f"%{ord(name[0]):x}{name[1:]}"
        for query in (f"{name}=5&{name}=6", f"{name}=5&{name}=5", f"{name}=5&{other_spelling}=5"):
            refused = ask(query)
            assert refused.status_code == 422, query
            assert refused.json()["errors"][0]["loc"] == ["query", name]


def test_bad_utf_8_in_a_query(ask: Any) -> None:
    for query in ("x=%ff", "%ff=1", "x=%C3%28", "x=%ED%A0%80"):
        assert ask(query).status_code == 400, query


def test_too_many_parameters(ask: Any) -> None:
    assert ask("&".join(f"x{number}=1" for number in range(1000))).status_code == 400
