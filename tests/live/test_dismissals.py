"""Connections that are closed as soon as they are open: how many may linger."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from hlfast.live.dismissals import Dismissals, Dismissed
from hlfast.live.metrics import Counts
from hlfast.websocket.limits import Limits
from hlfast.websocket.write_queue import WriteQueue
from tests.websocket.echo import serving
from tests.websocket.raw_client import CLOSE, Peer, close

pytestmark = pytest.mark.one_database
MOST = 2
# Nobody is cut for that here.
PATIENT = Limits(close_timeout_s=3600)


def test_the_oldest_is_cut() -> None:
    """Of clients that do not hang up; the newest can still say that they have read why."""
    dismissals, counts = Dismissals(MOST), Counts()

    def dismissed(writes: WriteQueue) -> Dismissed:
        return Dismissed(writes, dismissals, counts, "token invalid")

    with serving(PATIENT, dismissed) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in range(MOST + 2)]
        for peer in peers:
            assert peer.frame() == (CLOSE, 1008)
        for peer in peers[:-MOST]:
            with suppress(ConnectionResetError):
                assert peer.frame() is None
        assert server.call(len, dismissals) == MOST
        for peer in peers[-MOST:]:
            peer.send(close(1008))
            assert peer.frame() is None
        assert server.call(len, dismissals) == 0
        assert counts.closes == {1008: len(peers)}
