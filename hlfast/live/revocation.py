"""Whoever was disabled, or changed their password, is sent no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from hlfast.auth.account import AccountStatus
from hlfast.errors import Unauthenticated, Unavailable
from hlfast.live.session import Session
from hlfast.live.subscriptions import Subscriptions
from hlfast.settings import Settings
from hlfast.websocket.wire import CloseCode

# Between two looks at the status of everybody here.
_CHECK_PAUSE_S = 0.1


async def end_revoked(
    subscriptions: Subscriptions,
    statuses_of: Callable[[Sequence[int]], Awaitable[Mapping[int, AccountStatus]]],
    settings: Settings,
) -> None:
    """Close the connections whose token is good no more. Until cancelled."""
    while True:
        await asyncio.sleep(max(_CHECK_PAUSE_S, settings.revocation_check_s))
        users = [subscriber.id for subscriber in subscriptions]
        for start in range(0, len(users), settings.batch_max):
            some = users[start : start + settings.batch_max]
            try:
                statuses = await statuses_of(some)
            except Unavailable:
                break
            for user in some:
                _hold_against(subscriptions, user, statuses.get(user))


def _hold_against(subscriptions: Subscriptions, user: int, status: AccountStatus | None) -> None:
    subscriber = subscriptions.get(user)
    for socket in list(subscriber.sockets) if subscriber else ():
        assert isinstance(socket, Session)  # noqa: S101 (nothing else is ever put there)
        if status is None or status.disabled or status.token_version != socket.claims.token_version:
            socket.close(CloseCode.POLICY, Unauthenticated.revoked().close_reason)
