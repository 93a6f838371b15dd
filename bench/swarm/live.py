"""One person's websocket: it stays, and what comes is checked and counted, with its latency.

Rows of the report, all of type WS: `connect` (handshake to hello), `resume` (handshake to resumed),
`closed CODE`, and one for each type of frame. A latency runs from the sender's request to the
frame where the sender is of this process; else the row is called `…, by clock` and runs from
`created_at`, so it is as right as the two clocks. Other frames are only counted.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

import answers
import gevent
from answers import Body, Wrong, need
from asking import STAR, Asker
from gevent.event import Event
from locust.exception import RescheduleTask
from town import TOWN, Account
from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketException,
    create_connection,
)

# Reconnect after a pause of up to this, longer each time that it fails.
_JITTER_S = 2.0
_JITTER_MAX_S = 30.0
# The node pings every 25 s.
_SILENCE_S = 60.0
# A frame that has not come by then is missing: as long as events of a dead process may wait.
FRAME_DEADLINE_S = 30.0
_ASKED_MAX = 1000
_PORTS = {"ws": 80, "wss": 443}
_LOOK_S = 5.0
# Like the requests, whatever the environment says of proxies.
_DIRECTLY = build_opener(ProxyHandler({}))
_DRAINING, _POLICY = 1001, 1008
# Of those that 1008 may mean, what happens to a client that does nothing wrong.
_TOKEN_EXPIRED = "token expired"
_log = logging.getLogger(__name__)
Fire = Callable[..., None]


@cache
def websocket_of(host: str) -> str:
    """The websocket's URL: `/ws` at the host; without a front door there, one port further on.

    That is where `bash build.sh up` has it.
    """
    address = urlsplit(host)
    scheme = "wss" if address.scheme == "https" else "ws"
    here = f"{scheme}://{address.netloc}/ws"
    name = address.netloc.rpartition("@")[2].removesuffix(f":{address.port}")
    beside = f"{scheme}://{name}:{(address.port or _PORTS[scheme]) + 1}/ws"
    if _status_of(here) == HTTPStatus.NOT_FOUND and (
        _status_of(beside) == HTTPStatus.UPGRADE_REQUIRED
    ):
        _log.info("There is no websocket at %s: the one at %s is taken", here, beside)
        return beside
    return here


def _status_of(url: str) -> int:
    """What a websocket's URL answers to a plain request; 0: nothing."""
    try:
        with _DIRECTLY.open(url.replace("ws", "http", 1), timeout=_LOOK_S) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


class _Closed(Exception):
    """The node closed the socket, which it may do before its hello, too."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    @property
    def wrong(self) -> Wrong | None:
        """What is wrong about it, if it is not what any client has to live with."""
        if self.code == _DRAINING or (self.code, self.reason) == (_POLICY, _TOKEN_EXPIRED):
            return None
        return Wrong(f"closed by the node: {self.reason or 'no reason'}")


def _next(socket: WebSocket) -> bytes:
    """The next frame's content. Raises _Closed."""
    kind, data = socket.recv_data()
    if kind == ABNF.OPCODE_CLOSE:
        raise _Closed(int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace"))
    return bytes(data)


class Live:
    """`fire` is Locust's event of a request.

    `asked`: who wants to be a friend. `friends`: who is one, the stars aside.
    """

    def __init__(self, url: str, account: Account, asker: Asker, fire: Fire) -> None:
        self._url, self._account, self._asker, self._fire = url, account, asker, fire
        self.asked: deque[int] = deque(maxlen=_ASKED_MAX)
        self.friends: list[int] = []
        self._socket: WebSocket | None = None
        self._token = ""
        self._cursor = ""
        # Key of something of mine that must come to me as a frame, too -> until when.
        self._awaited: dict[str, float] = {}
        # Last id of each dialog, by the other one.
        self._last_ids: dict[int, int] = {}
        self._is_replaying = False
        self._is_there = Event()
        self._greenlet: Any = None

    def start(self) -> None:
        """Connect, and stay connected. Returns after the first hello: before it no frame comes."""
        self._greenlet = gevent.spawn(self._stay)
        self._is_there.wait()

    def stop(self) -> None:
        """Close the websocket."""
        self._greenlet.kill()
        if self._socket is not None:
            self._socket.shutdown()

    def add_friend(self, id_: int) -> None:
        """Whom I write to, from now on."""
        if id_ not in self.friends and not TOWN.is_star(id_):
            self.friends.append(id_)

    def say(self, body: Body) -> None:
        """Send a frame, if there is a connection."""
        if self._socket is not None:
            # Whoever reads counts the loss.
            with suppress(OSError, WebSocketException):
                self._socket.send(answers.encode(body))

    def expect(self, key: str) -> None:
        """I am about to send a message that ends with this key."""
        self._awaited[key] = float("inf")

    def sent(self, key: str, *, is_sent: bool) -> None:
        """Note that a message was committed, so that its frame must come, or that it failed."""
        if not is_sent:
            self._awaited.pop(key, None)
        elif key in self._awaited:
            self._awaited[key] = time.monotonic() + FRAME_DEADLINE_S

    def tend(self) -> None:
        """Now and then: hand in a new token, count frames that have not come."""
        if self._socket is None:
            return
        if self._token != self._account.token:
            self._token = self._account.token
            self.say({"type": "token", "access_token": self._token})
        now = time.monotonic()
        for key in [key for key, until in self._awaited.items() if until < now]:
            del self._awaited[key]
            self._count("message.created", wrong=Wrong("a frame is missing"))

    def _stay(self) -> None:
        failures = 0
        while True:
            try:
                self._connect()
                failures = 0
                self._follow()
            except _Closed as closed:
                self._count(f"closed {closed.code}", wrong=closed.wrong)
                if closed.code == _POLICY:
                    # By its own clock the token may have been young.
                    self._account.renew_at = 0.0
            except (OSError, WebSocketException, Wrong) as error:
                # The text of some has addresses and bytes in it.
                text = str(error) if isinstance(error, Wrong) else type(error).__name__
                if isinstance(error, WebSocketBadStatusException):
                    text = f"{error.status_code} to the handshake"
                row = "connect" if self._socket is None else "lost"
                self._count(row, wrong=Wrong(text))
                failures += 1
            except RescheduleTask:
                failures += 1  # no token: counted as a request
            if self._socket is not None:
                self._socket.shutdown()
                self._socket = None
            gevent.sleep(random.uniform(0, min(_JITTER_S * 2**failures, _JITTER_MAX_S)))

    def _connect(self) -> None:
        self._asker.renew(self._account)
        self._token = self._account.token
        query = f"?{urlencode({'cursor': self._cursor})}" if self._cursor else ""
        begun = time.perf_counter()
        socket = create_connection(
            self._url + query,
            timeout=_SILENCE_S,
            header={"Authorization": f"Bearer {self._token}"},
            http_no_proxy=["*"],
        )
        try:
            hello = answers.frame(_next(socket))
            need(hello["type"] == "hello", "the first frame is no hello")
            need(hello["user_id"] == self._account.id, "a hello for somebody else")
        except BaseException:
            socket.shutdown()
            raise
        self._socket = socket
        self._is_there.set()
        self._count("connect", latency_s=time.perf_counter() - begun)
        self._is_replaying = bool(self._cursor)
        self._cursor = hello["cursor"]
        self._resuming_since = begun

    def _follow(self) -> None:
        """Read to the end. Raises _Closed."""
        assert self._socket is not None
        while True:
            self._take(_next(self._socket))

    def _take(self, data: bytes) -> None:
        kind = "a frame"
        try:
            body = answers.frame(data)
            kind = body["type"]
            self._cursor = body.get("cursor", self._cursor)
            if kind == "message.created":
                self._message(body["message"], len(data))
            elif kind == "post.created":
                self._post(body["post"], len(data))
            elif kind == "resumed":
                self._resumed(body["recovered"])
            else:
                need(kind != "error", f"an error: {body.get('code')}")
                self._count(kind, size=len(data))
                if kind == "friend.requested":
                    self.asked.append(body["user_id"])
                elif kind == "friend.added":
                    self.add_friend(body["user_id"])
        except Wrong as wrong:
            self._count(kind, wrong=wrong)

    def _message(self, message: Body, size: int) -> None:
        me = self._account.id
        ends = {message["from_user_id"], message["to_user_id"]}
        need(me in ends and len(ends) == 2, "a message of others")
        other = (ends - {me}).pop()
        key = message["content"].rpartition("#")[2]
        self._awaited.pop(key, None)
        last = self._last_ids.get(other)
        self._last_ids[other] = max(last or 0, message["id"])
        self._timed("message.created", message, TOWN.is_star(other), size)
        # A smaller one is a repeat, which a crash may cause.
        need(last is None or message["id"] <= last + 1, "a message before this one is missing")

    def _post(self, post: Body, size: int) -> None:
        author = post["author_id"]
        self._timed("post.created", post, TOWN.is_star(author), size)

    def _timed(self, kind: str, written: Body, is_star: bool, size: int) -> None:
        name = kind + STAR if is_star else kind
        departed_at = TOWN.departed_at(written["content"].rpartition("#")[2])
        if self._is_replaying:
            self._count(f"{name}, replayed", size=size)
        elif departed_at is not None:
            self._count(name, latency_s=time.perf_counter() - departed_at, size=size)
        else:
            created_at = datetime.fromisoformat(written["created_at"]).timestamp()
            latency_s = max(0.0, time.time() - created_at)
            self._count(f"{name}, by clock", latency_s=latency_s, size=size)

    def _resumed(self, recovered: bool) -> None:
        latency_s = time.perf_counter() - self._resuming_since
        self._is_replaying = False
        if recovered:
            until = time.monotonic() + FRAME_DEADLINE_S
            self._awaited = dict.fromkeys(self._awaited, until)
            self._count("resume", latency_s=latency_s)
        else:
            # Nothing will be replayed: a client would reload over HTTP.
            self._awaited.clear()
            self._last_ids.clear()
            self._count("resume, not recovered", latency_s=latency_s)

    def _count(
        self,
        name: str,
        *,
        latency_s: float | None = None,
        size: int = 0,
        wrong: Wrong | None = None,
    ) -> None:
        self._fire(
            request_type="WS",
            name=name,
            response_time=None if latency_s is None else latency_s * 1e3,
            response_length=size,
            exception=wrong,
            context={},
        )
