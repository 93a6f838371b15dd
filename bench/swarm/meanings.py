"""What an error of the report means, and where to look."""

from __future__ import annotations

from collections.abc import Iterable

# By a part of the error's text.
_MEANINGS = {
    "a frame is missing": (
        "a message was acknowledged, and its frame did not come to its sender within 30 s. It is "
        "lost, or the node is behind: look at hlfast_events_unconfirmed in the API's /metrics"
    ),
    "a message before this one is missing": (
        "a websocket got a message of a dialog, and not the one before it: a frame is lost"
    ),
    "not there": "what was acknowledged is not found at once: a read is behind its write",
    "in order": "a page is not in its order, or has somebody twice",
    "not what it must be": "an answer has something else in it than was written",
    "no answer": "the connection broke, or nothing came in 30 s: look at the server's log",
    "404 to the handshake": "there is no websocket at this URL: give --ws-url",
    "403 to the handshake": "the websocket takes no page from there: see HLFAST_ALLOWED_ORIGINS",
    "to the handshake": "the websocket refuses: see /health/ready of the node",
    "ConnectionRefusedError": "nobody listens there: is the service up, and --host right?",
    "429": (
        "one address asks more than the service takes. All of the swarm is one: start HAProxy with "
        "HLFAST_ADDRESS_REQUESTS_MAX=0 and HLFAST_ADDRESS_CONNECTIONS_MAX=0"
    ),
    "503": (
        "the service refuses work: it has too much, or lacks what it needs. See "
        "/health/dependencies, and spawn fewer users a second: each costs two password hashes"
    ),
    "500": "the service made a mistake: its log has it, with the request's id",
    "closed by the node": "a node ended a websocket for a reason that is none of a client's",
    "WebSocketConnectionClosedException": "a websocket was cut without a word: a node was killed",
}


def explained(errors: Iterable[str]) -> Iterable[str]:
    """A sentence for each kind of error that is known, the most particular one for each."""
    seen = set()
    for error in errors:
        part = next((part for part in _MEANINGS if part in error), None)
        if part is not None and part not in seen:
            seen.add(part)
            yield f"{part!r} means: {_MEANINGS[part]}"
