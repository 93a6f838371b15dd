"""A token that is not good: the websocket opens, and is closed with 1008 and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from hl_utils.servers.haproxy import Proxy
from hl_utils.servers.services import SECRET
from tests.clients import PASSWORD, Client
from tests.haproxy.conftest import House
from tests.http import get
from tests.live.conftest import signed, token
from tests.nodes import DEADLINE_S, Socket
from tests.superusers import superuser
from tests.websocket.raw_client import CLOSE, Peer, close, text

INVALID, EXPIRED, REVOKED = "token invalid", "token expired", "token revoked"


def without(user: Client, name: str) -> str:
    """A token of the user's that lacks a claim."""
    claims = jwt.decode(token(user), SECRET, ["HS256"])
    del claims[name]
    return jwt.encode(claims, SECRET, "HS256")


def of_another_secret(user: Client) -> str:
    return jwt.encode(jwt.decode(token(user), SECRET, ["HS256"]), "another" * 8, "HS256")


def unsigned(user: Client) -> str:
    return jwt.encode(jwt.decode(token(user), SECRET, ["HS256"]), None, "none")


def with_changed_password(user: Client) -> str:
    before = token(user)
    words = {"old_password": PASSWORD, "new_password": "another battery"}
    assert user.post("/users/me/password", json=words).status_code == 204
    return before


KINDS: dict[str, tuple[Callable[[Client], str], str]] = {
    "no token at all": (lambda user: "x", INVALID),
    "text": (lambda user: "café", INVALID),
    "cut": (lambda user: token(user)[:-2], INVALID),
    "longer": (lambda user: token(user) + "A", INVALID),
    "another secret": (of_another_secret, INVALID),
    "unsigned": (unsigned, INVALID),
    "refresh": (lambda user: signed(user, typ="refresh"), INVALID),
    "nobody's": (lambda user: signed(user, sub="me"), INVALID),
    "without a version": (lambda user: without(user, "ver"), INVALID),
    "without an end": (lambda user: without(user, "exp"), INVALID),
    "expired": (lambda user: signed(user, exp=int(time.time()) - 10), EXPIRED),
    "expired long ago": (lambda user: signed(user, exp=1), EXPIRED),
    "expired, and forged": (
        lambda user: signed(user, exp=1)[:-8] + "AAAAAAAA",
        INVALID,
    ),
    "another version": (lambda user: signed(user, ver=7), REVOKED),
    "unknown user": (lambda user: signed(user, sub=str(2**31 - 1)), REVOKED),
    "changed password": (with_changed_password, REVOKED),
}
WAYS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "header": lambda given: ("", {"additional_headers": {"Authorization": f"Bearer {given}"}}),
    "query": lambda given: (f"?token={quote(given)}", {}),
    "subprotocol": lambda given: ("", {"subprotocols": ["bearer", given]}),
}


def answered(url: str, way: str, given: str) -> tuple[int, str]:
    """With what a connection is closed, before any frame."""
    query, options = WAYS[way](given)
    with connect(url + query, open_timeout=DEADLINE_S, proxy=None, **options) as connection:
        assert connection.subprotocol == ("bearer" if way == "subprotocol" else None)
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(timeout=DEADLINE_S)
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason


@pytest.mark.parametrize(
    ("way", "kind"),
    # No client puts anything but ASCII into a header.
    [(way, kind) for way in WAYS for kind in KINDS if kind != "text" or way == "query"],
)
def test_a_bad_token(house: House, way: str, kind: str) -> None:
    """At the node and at the front door alike."""
    made, reason = KINDS[kind]
    with Client(house.api.url) as anybody:
        given = made(anybody.user())
    for url in (house.node.ws_url, house.proxy.ws_url):
        assert answered(url, way, given) == (1008, reason)


@pytest.mark.parametrize("way", WAYS)
def test_a_token_of_somebody_who_was_disabled(house: House, way: str) -> None:
    with Client(house.api.url) as anybody:
        user, given = anybody.user(), superuser(house.api)
    disabled = given.patch(f"/users/{user.id}", json={"disabled": True})
    assert disabled.status_code == 200
    for url in (house.node.ws_url, house.proxy.ws_url):
        assert answered(url, way, token(user)) == (1008, REVOKED)


def test_none_is_refused(house: House) -> None:
    for url in (house.node.ws_url, house.proxy.ws_url):
        for query in ("", "?token=", "?cursor=x"):
            with pytest.raises(InvalidStatus) as failure:
                connect(url + query, open_timeout=DEADLINE_S, proxy=None).__enter__()
            answer = failure.value.response
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def doors(house: House) -> list[int]:
    return [house.node.port, house.proxy.port]


def test_the_reason_comes_before_anything_is_sent(house: House) -> None:
    """And the end once the client has answered, as a browser does at once."""
    for port in doors(house):
        with Peer(port, "/ws?token=bad") as peer:
            assert peer.status == 101
            assert peer.frame() == (CLOSE, 1008)
            peer.send(close(1008))
            assert peer.frame() is None


def test_the_reason_comes_whatever_the_client_has_sent(house: House) -> None:
    """With that unread, a connection that is simply closed would be reset."""
    for port in doors(house):
        with Peer(port, "/ws?token=bad", early=text("x" * 10_000) * 20) as peer:
            peer.send(text("x" * 10_000) * 20)
            assert peer.frame() == (CLOSE, 1008)


def test_a_client_that_does_not_hang_up_is_cut(house: House) -> None:
    for port in doors(house):
        with Peer(port, "/ws?token=bad") as peer:
            assert peer.frame() == (CLOSE, 1008)
            began = time.monotonic()
            with suppress(ConnectionResetError):
                assert peer.frame() is None
            assert time.monotonic() - began < DEADLINE_S / 2


def test_bad_handshakes_are_in_the_share_of_their_address(house: House) -> None:
    most = 5
    settings = {"HLFAST_ADDRESS_CONNECTIONS_MAX": str(most)}
    with (
        Proxy([house.api.port], [house.node.port], settings) as proxy,
        ExitStack() as stack,
    ):
        proxy.wait_until_up()
        for _ in range(most):
            peer = stack.enter_context(Peer(proxy.port, "/ws?token=bad"))
            assert peer.frame() == (CLOSE, 1008)
        with pytest.raises((ConnectionError, IndexError)):
            Peer(proxy.port, "/ws?token=bad")
    with Proxy(
        [house.api.port], [house.node.port], {"HLFAST_ADDRESS_REQUESTS_MAX": str(most)}
    ) as proxy:
        proxy.wait_until_up()
        for _ in range(most):
            assert answered(proxy.ws_url, "query", "bad") == (1008, INVALID)
        assert get(f"{proxy.url}/health/live").status_code == 429


def test_a_good_token_after_bad_ones(house: House) -> None:
    with Client(house.api.url) as anybody:
        user = anybody.user()
    for url in (house.node.ws_url, house.proxy.ws_url):
        assert answered(url, "query", "bad") == (1008, INVALID)
        with Socket(url, token(user)) as socket:
            assert socket.hello["user_id"] == user.id
