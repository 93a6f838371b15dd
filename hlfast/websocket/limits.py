"""The bounds that hold for every connection of a listener."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of every connection of one listener. Times end in `_s` and are seconds."""

    # Of a whole message, over all its fragments; beyond: 1009.
    message_bytes_max: int = 16 * 1024
    # Frames of all kinds from one peer within the window; beyond: 4429. 0 is no bound.
    frames_max: int = 0
    frames_window_s: float = 10.0
    # Waiting for one reader, and how long it may take to catch up; beyond: 1013.
    queue_bytes_max: int = 1024 * 1024
    behind_max_s: float = 10.0
    # What the kernel may hold besides, for each reader; left to itself it takes 4 MiB. It has a
    # bound of its own, net.core.wmem_max, and counts its own book-keeping, about as much again.
    send_buffer_bytes: int = 256 * 1024
    # From our close frame to the peer's; then the connection is cut.
    close_timeout_s: float = 5.0
    # Frames queued within this time of a write wait for the next one. 0: one loop turn.
    join_delay_s: float = 0.0
    # Writing stops the loop for no longer than this at a time.
    slice_s: float = 0.003
    # And may be put off for so long by who has more to queue.
    hold_max_s: float = 0.02
    handshake_timeout_s: float = 5.0
    # Connections whose handshake was not answered yet; beyond, who has most loses the oldest.
    handshakes_max: int = 4096
    # A silent peer is pinged, and cut when it does not answer in time. None: never.
    ping_idle_s: float | None = 30.0
    ping_reply_s: float = 15.0
    # An event stream is written a comment so often, which shows both ends that the other is there.
    comment_s: float = 15.0
