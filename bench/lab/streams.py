"""Event streams beside websockets: the same node, the same events, the other wire.

A row of `bash build.sh lab frames`: every byte of every stream is held against the events.
"""

from __future__ import annotations

from bench.lab.arms import Arm, Kind
from bench.live.client import Wrong
from bench.live.peers_listener import Wire
from hlfast import codec
from hlfast.live.stream import PATH

NAME = "event-streams"
_REQUEST = f"GET {PATH}?{{query}} HTTP/1.1\r\nHost: bench\r\n\r\n"
_END = b"\n\n"


def _texts(received: bytes | bytearray) -> list[bytes]:
    """The data of whole events, whose type and id are those of the data. Raises Wrong."""
    if not received.endswith(_END):
        raise Wrong("an event is not whole")
    found = []
    for event in bytes(received).removesuffix(_END).split(_END):
        data = event.rpartition(b"\ndata: ")[2]
        frame = codec.decode(data)
        head = f"event: {frame['type']}\nid: {frame['cursor']}\ndata: ".encode()
        if event != head + data:
            raise Wrong(f"no event of ours: {event[:200]!r}")
        found.append(data)
    return found


WIRE = Wire(_REQUEST, _texts, _END)


def arm(ours: Arm) -> Arm:
    """The node of an arm, of which the listeners take event streams instead of websockets."""
    return Arm(NAME, NAME, (), ours.environment, ours.name, True, Kind.ADVISED)
