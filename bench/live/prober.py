"""How soon a websocket node's loop has its turn: `python -m bench.live.prober PORT`.

Asks /health/live again and again until its input ends, then writes how long each answer took, in
seconds, as JSON. All but the last two bytes of a request are there before, so that what is timed is
one turn of the loop: the answer goes straight to the socket, not behind the frames that are queued
for others. A process of its own, ahead of others in the scheduler, because the benchmark's has
10,000 sockets to read.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from contextlib import suppress

PAUSE_S = 0.001
_HEAD = b"GET /health/live HTTP/1.1\r\nHost: bench\r\n"


def ready(port: int) -> socket.socket:
    """A connection that has asked all but the end."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_HEAD)
    return connection


def main() -> None:
    """Until the input ends."""
    port = int(sys.argv[1])
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    took_s: list[float] = []
    following = ready(port)
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        with following as connection:
            following = ready(port)
            start = time.perf_counter()
            connection.sendall(b"\r\n")
            answer = connection.recv(4096)
            took_s.append(time.perf_counter() - start)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"no 200: {answer[:100]!r}")
    print(json.dumps(took_s))


if __name__ == "__main__":
    main()
