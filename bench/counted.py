"""A tree's service under callgrind: it answers windows of requests, and each window is counted.

    valgrind --tool=callgrind --zero-before=getpriority --dump-before=getsid \
        --instr-atstart=no python -P bench/counted.py WINDOWS ANSWERS

There is a dump of the harness and one of the service for each window, in turn.
`bench.instructions` runs it, with the tree to be counted on PYTHONPATH. Of that tree it needs
`hlfast.api.create` and nothing else. WINDOWS and ANSWERS are JSON, bytes as Latin-1: a window is a
list of rounds, a round the list of whole HTTP/1.1 requests that are under way at once; an answer is
its status and body.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop

from hlfast import api

# What requests leave to be done after their answers is looked at so often, and so many times. A
# look is counted, and costs as much as a request: one for each round has to do.
_LOOK_S = 0.2
_LOOKS_MAX = 100
# What the service does every second or two, whatever it is asked: how often that falls into a
# window is chance, and the more so the more crowded the machine is.
_BY_THE_CLOCK = ("ConnectionWatch.run", "Sampler.run")


class Request:
    """One request as an ASGI server hands it over, and the answer that it got."""

    def __init__(self, data: str) -> None:
        head, _, body = data.encode("latin-1").partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.decode().split(" ")
        path, _, query = target.partition("?")
        headers = [line.split(b": ", 1) for line in lines]
        self.status, self.body = 0, b""
        self._received = {"type": "http.request", "body": body, "more_body": False}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in headers],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }

    async def ask(self, application: Any) -> None:
        """Send the request once."""
        await application(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        return self._received

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that costs what the harness does: it is counted before each window."""


async def count(application: Any, rounds: list[list[Request]]) -> None:
    """One window. callgrind knows its two ends by C functions that nothing else calls."""
    before = asyncio.all_tasks()
    gc.collect()
    os.getpriority(os.PRIO_PROCESS, 0)
    for requests in rounds:
        await asyncio.gather(*[one.ask(application) for one in requests])
        await quiet(before)
    os.getsid(0)


async def quiet(before: set[asyncio.Task[Any]]) -> None:
    """Until there are no other tasks than before: what a request leaves to be done is its own.

    It would be chance how much of that is done together with the next one's.
    """
    for _ in range(_LOOKS_MAX):
        if asyncio.all_tasks() <= before:
            return
        await asyncio.sleep(_LOOK_S)
    # They are there to stay.
    before |= asyncio.all_tasks()


def begin() -> None:
    """Have callgrind count from here on: a start, which no window has, is five times faster so.

    Valgrind takes the order in between two instructions, so this process must not sleep meanwhile;
    to be woken up for it takes a right that containers withhold (ptrace).
    """
    order = ["vgdb", f"--pid={os.getpid()}", "--max-invoke-ms=0", "instrumentation", "on"]
    with subprocess.Popen(order, stdout=subprocess.DEVNULL) as vgdb:
        while vgdb.poll() is None:
            pass
    if vgdb.returncode:
        raise RuntimeError(f"vgdb ended with {vgdb.returncode}")


async def answer(windows: list[list[list[str]]]) -> list[list[list[tuple[int, str]]]]:
    """Every window on the running service."""
    application: Any = api.create()
    came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    went: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = asyncio.create_task(application(scope, came.get, went.put))
    came.put_nowait({"type": "lifespan.startup"})
    started = await went.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(started)
    for task in asyncio.all_tasks():
        if task.get_coro().__qualname__ in _BY_THE_CLOCK:
            task.cancel()
    begin()
    answers = []
    for window in windows:
        rounds = [[Request(data) for data in requests] for requests in window]
        await count(nothing, rounds)
        await count(application, rounds)
        answers.append(
            [[(one.status, one.body.decode("latin-1")) for one in asked] for asked in rounds]
        )
    came.put_nowait({"type": "lifespan.shutdown"})
    await lifespan
    return answers


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(uvloop.run(answer(asked))))
