"""The bare server: one JSON answer, always the same, and nothing else.

What Granian with an ASGI callable can do at most; no service behind it can be faster.
"""

from __future__ import annotations

import os

from starlette.types import Receive, Scope, Send

_BODY = os.environ["STATIC_BODY"].encode()
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(_BODY)),
    ],
}
_END = {"type": "http.response.body", "body": _BODY}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI, http only: Granian is started without a lifespan."""
    await send(_START)
    await send(_END)
