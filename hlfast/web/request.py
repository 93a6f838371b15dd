"""The few request headers that the service reads, found in one pass."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from starlette.types import Scope

from hlfast import addresses
from hlfast.addresses import Address, Network

SCOPE_KEY = "hlfast.head"
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True, eq=False)
class Head:
    """Raw header values of one request; `request_id` is the caller's own when it sent a sane one.

    A request is known by its head: two of them are never equal.
    """

    request_id: bytes
    authorization: bytes | None = None
    if_none_match: bytes | None = None
    content_length: bytes | None = None
    forwarded_for: bytes | None = None
    traceparent: bytes | None = None
    # Its body is waited for, did not come in time, is all read.
    awaits_body: bool = False
    is_late: bool = False
    is_read: bool = False


class RequestIds:
    """Ids unique among processes by their start, within one by counting: no system call each.

    To be made after a worker was forked, or all of them would count alike.
    """

    def __init__(self) -> None:
        self._process = secrets.token_hex(8).encode()
        self._counter = count(1)

    def next(self) -> bytes:
        """An id that no other request of any process has."""
        return b"%b-%x" % (self._process, next(self._counter))


def read_head(scope: Scope, request_ids: RequestIds) -> Head:
    """Reads an ASGI scope; header names arrive in lower case."""
    head = Head(b"")
    for name, value in scope["headers"]:
        if name == b"authorization":
            head.authorization = value
        elif name == b"content-length":
            head.content_length = value
        elif name == b"if-none-match":
            # A repeated field is one list (RFC 9110, 5.3).
            head.if_none_match = head.if_none_match + b"," + value if head.if_none_match else value
        elif name == b"x-request-id":
            if _SANE_REQUEST_ID.fullmatch(value):
                head.request_id = value
        elif name == b"x-forwarded-for":
            head.forwarded_for = head.forwarded_for + b"," + value if head.forwarded_for else value
        elif name == b"traceparent":
            # A repeated one is none.
            head.traceparent = value if head.traceparent is None else b""
    if not head.request_id:
        head.request_id = request_ids.next()
    return head


def client_address(scope: Scope, head: Head, trusted: Sequence[Network]) -> Address | None:
    """The client's address: from X-Forwarded-For only where a trusted proxy wrote it.

    The header is read from its end: what stands before the first untrusted address could be
    anybody's word. Where a proxy wrote what is no address, it is itself the last that is known.
    """
    client = scope.get("client")
    address = addresses.parse(client[0]) if client else None
    if address is None or not head.forwarded_for or not trusted:
        return address
    for hop in reversed(head.forwarded_for.decode("latin-1").split(",")):
        if not addresses.is_among(address, trusted):
            break
        before = addresses.parse(hop)
        if before is None:
            break
        address = before
    return address
