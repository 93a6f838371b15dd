"""Whoever was disabled, or changed their password, is told no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hlfast.errors import Unauthenticated, Unavailable
from hlfast.live.frames import CloseCode
from hlfast.live.interest import Interest
from hlfast.live.session import Session
from hlfast.settings import Settings
from hlfast.web.auth import Standing

if TYPE_CHECKING:
    from hlfast.live.node import Node

# Between two looks at the standing of everybody here.
_CHECK_PAUSE_S = 0.1


async def end_revoked(
    node: Node,
    standings_of: Callable[[Sequence[int]], Awaitable[Mapping[int, Standing]]],
    settings: Settings,
) -> None:
    """Close the connections whose token is good no more. Until cancelled."""
    while True:
        await asyncio.sleep(max(_CHECK_PAUSE_S, settings.revocation_check_s))
        users = [follower.id for follower in node.interest]
        for start in range(0, len(users), settings.batch_max):
            some = users[start : start + settings.batch_max]
            try:
                standings = await standings_of(some)
            except Unavailable:
                break
            for user in some:
                _hold_against(node.interest, user, standings.get(user))


def _hold_against(interest: Interest, user: int, standing: Standing | None) -> None:
    follower = interest.get(user)
    for socket in list(follower.sockets) if follower else ():
        assert isinstance(socket, Session)  # noqa: S101 (nothing else is ever put there)
        if (
            standing is None
            or standing.disabled
            or standing.token_version != socket.claims.token_version
        ):
            socket.close(CloseCode.POLICY, Unauthenticated.revoked().close_reason)
