"""A node closes while its client still sends: the close code arrives, at the node and at the door.

Closed with input unread, a connection is reset, and what was written last is lost with it.
"""

from __future__ import annotations

import pytest

from tests.clients import Client
from tests.haproxy.conftest import House
from tests.live.conftest import token
from tests.websocket.raw_client import CLOSE, Peer, client_frame, text

TIMES = 50
FLOODS = {
    "too many frames": (text('{"type":"typing","user_id":1}') * 2000, 4429),
    "too big a message": (text("x" * 1_000_000), 1009),
    "no text": (client_frame(1, b"\xff" * 1000) * 200, 1007),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_the_code_arrives(house: House, kind: str) -> None:
    flood, code = FLOODS[kind]
    with Client(house.api.url) as anybody:
        bearer = f"Authorization: Bearer {token(anybody.user())}\r\n"
    for port in (house.node.port, house.proxy.port):
        for number in range(TIMES):
            with Peer(port, "/ws", bearer) as peer:
                assert peer.status == 101
                assert peer.frame() is not None  # hello
                peer.send(flood)
                assert (CLOSE, code) in list(peer.frames()), (port, number)
