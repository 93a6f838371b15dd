"""One client's connection: its token, its place in the log, and what it says."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from hlfast import codec, errors
from hlfast.auth.tokens import Claims, Tokens
from hlfast.live.event import frame
from hlfast.live.subscriptions import Subscriber
from hlfast.websocket.connection import Connection
from hlfast.websocket.wire import CloseCode
from hlfast.websocket.write_queue import WriteQueue


class Host(Protocol):
    """What a session needs of the node that it is on."""

    writes: WriteQueue
    tokens: Tokens

    def opened(self, session: Session) -> None:
        """The handshake is done."""

    def closed(self, session: Session, code: int) -> None:
        """The connection is gone."""

    def typing(self, session: Session, to: int) -> None:
        """Its user writes to this friend."""


class Session(Connection):
    """A connection of a user. Until `after_seq` is set nothing is delivered to it."""

    __slots__ = ("_expiry", "_node", "after_seq", "claims", "cursor", "subscriber")

    def __init__(self, node: Host, claims: Claims, cursor: str | None) -> None:
        super().__init__(node.writes)
        self._node = node
        self._expiry: asyncio.TimerHandle | None = None
        self.claims = claims
        self.cursor = cursor
        self.subscriber: Subscriber | None = None
        # Everything up to this event has been delivered, or replayed.
        self.after_seq = 0

    def on_open(self) -> None:
        self._expire_later()
        self._node.opened(self)

    def on_text(self, text: str) -> None:
        try:
            self._take(codec.decode(text.encode()))
        except errors.HlfastError as error:
            self.refuse(type(error).__name__.lower(), error.detail)

    def on_binary(self, data: bytes) -> None:
        self.refuse("malformed", "Frames are JSON texts.")

    def on_closed(self, code: int, reason: str) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._node.closed(self, code)

    def refuse(self, code: str, detail: str) -> None:
        """An `error` frame; the connection stays."""
        self.queue(frame({"type": "error", "code": code, "detail": detail}))

    def _take(self, message: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "typing":
            self._node.typing(self, _user_id(message))
        elif kind == "token":
            self._renew(message.get("access_token"))
        else:
            raise errors.Malformed("The frame's type is neither typing nor token.")

    def _renew(self, token: Any) -> None:
        if not isinstance(token, str) or not token.isascii():
            raise errors.Malformed("access_token is a token.")
        claims = self._node.tokens.verify("access", token)
        if claims.user_id != self.claims.user_id:
            raise errors.Forbidden("The token is somebody else's.")
        self.claims = claims
        self._expire_later()

    def _expire_later(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(
            max(0.0, self.claims.expires_at - time.time()),
            self.close,
            CloseCode.POLICY,
            errors.Unauthenticated.expired().close_reason,
        )


def _user_id(message: dict[str, Any]) -> int:
    user_id = message.get("user_id")
    if type(user_id) is not int:
        raise errors.Malformed("user_id is a user's id.")
    return user_id
