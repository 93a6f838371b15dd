"""One client's connection: its token, its cursor, and what it says.

It has one of two wires: a websocket here, an event stream in `stream.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hlfast import errors
from hlfast.auth.tokens import Claims, Tokens
from hlfast.live.expiries import Expiries
from hlfast.live.frame_table import Frames
from hlfast.live.subscriptions import Subscriber
from hlfast.websocket.connection import Connection
from hlfast.websocket.outflow import Outflow
from hlfast.websocket.wire import CloseCode, text_frame
from hlfast.websocket.write_queue import WriteQueue


class Host(Protocol):
    """What a session needs of the node that it is on."""

    writes: WriteQueue
    tokens: Tokens
    frames: Frames
    expiries: Expiries

    def opened(self, session: Session) -> None:
        """Note that a session's handshake is done."""

    def closed(self, session: Session, code: int) -> None:
        """Note that a session's connection is gone, with this close code."""

    def typing(self, session: Session, to: int) -> None:
        """Note that the session's user writes to this friend."""

    def lab(self, session: Session) -> None:
        """Its user asks what the node is at."""


class Session(Outflow):
    """A connection of a user. Until `after_seq` is set nothing is delivered to it.

    What it keeps is declared in SLOTS, and laid out by those who join it with a wire.
    """

    __slots__ = ()

    _node: Host
    claims: Claims
    # To be resumed from.
    cursor: str | None
    subscriber: Subscriber | None
    # Everything up to this event has been delivered, or replayed.
    after_seq: int
    # The same of those who came and went.
    after_move: int

    def enlist(self, node: Host, claims: Claims, cursor: str | None) -> None:
        """Make the session one of this node and of the user of these claims."""
        self._node = node
        self.claims = claims
        self.cursor = cursor
        self.subscriber = None
        self.after_seq = 0
        self.after_move = 0

    def on_open(self) -> None:
        self._node.expiries.add(self, self.claims.expires_at)
        self._node.opened(self)

    def on_closed(self, code: int, reason: str) -> None:
        self._node.expiries.discard(self, self.claims.expires_at)
        self._node.closed(self, code)

    def send(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Queue a frame of this type."""
        self.queue(text_frame(self._node.frames.build(kind, fields)))

    def refuse(self, code: str, detail: str) -> None:
        """An `error` frame; the connection stays."""
        self.send("error", {"code": code, "detail": detail})

    def expire(self) -> None:
        """Close it: its token is good no more."""
        self.close(CloseCode.POLICY, errors.Unauthenticated.expired().close_reason)


SLOTS = ("_node", "after_move", "after_seq", "claims", "cursor", "subscriber")


class SocketSession(Session, Connection):
    """A session over a websocket: the only one that can say something."""

    __slots__ = SLOTS

    def __init__(self, node: Host, claims: Claims, cursor: str | None) -> None:
        super().__init__(node.writes)
        self.enlist(node, claims, cursor)

    def on_text(self, text: str) -> None:
        try:
            self._take(self._node.frames.parse(text))
        except errors.HlfastError as error:
            self.refuse(type(error).__name__.lower(), error.detail)

    def on_binary(self, data: bytes) -> None:
        self.refuse("malformed", "Frames are JSON texts.")

    def _take(self, message: Any) -> None:
        match message.type:
            case "typing":
                self._node.typing(self, message.user_id)
            case "lab":
                self._node.lab(self)
            case _:
                self._renew(message.access_token)

    def _renew(self, token: str) -> None:
        claims = self._node.tokens.verify("access", token)
        if claims.user_id != self.claims.user_id:
            raise errors.Forbidden("The token is somebody else's.")
        self._node.expiries.discard(self, self.claims.expires_at)
        self._node.expiries.add(self, claims.expires_at)
        self.claims = claims
