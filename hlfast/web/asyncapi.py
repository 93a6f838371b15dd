"""AsyncAPI 3.0 of the websocket and of event streams, made from the table of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hlfast.errors import Unauthenticated
from hlfast.settings import Settings
from hlfast.websocket.wire import CloseCode

_BEARER = (
    "An access token. Better as `Authorization: Bearer`, or as the subprotocols `bearer, <token>`: "
    "URLs end up in logs."
)
_STREAM = """Server-sent events, for those who cannot hold a websocket: the same frames to me.

`event` is the frame's type, `id` its cursor, `data` the frame. Resume with `Last-Event-ID` (which
EventSource sends by itself) or `cursor`; the former counts. A comment comes every {comment_s:g} s.
There is nothing to say over it: a stream ends when its token expires, and its client comes back
with a fresh one.

Refusals are problem+json: 401 for a token that is not good, 422 for an unknown parameter, 429 for
more than {connections} connections of one user to one node, 503 while the node is full or stops.
A stream that began ends with an `error` event, whose `detail` is the reason that a websocket is
closed with."""
_SCHEMA = "#/components/schemas/"
_ABOUT = """What happens meanwhile: posts, messages and read marks, friendships, typing, presence.

All else is asked for over HTTP: see [the API](/docs). `/page/client.js` is a client of both."""
# Either will do, wherever a connection begins.
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token."},
    "token": {"type": "httpApiKey", "in": "query", "name": "token", "description": _BEARER},
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One kind of frame: a text of one JSON object of this model."""

    model: type[BaseModel]
    from_client: bool = False
    # Comes only to who has asked, which nobody can over an event stream.
    is_answer: bool = False

    @property
    def name(self) -> str:
        """The message's name in the document."""
        return self.model.__name__

    @property
    def types(self) -> tuple[str, ...]:
        """The values that the frame's `type` may have."""
        return get_args(self.model.model_fields["type"].annotation)

    @property
    def fields(self) -> frozenset[str]:
        """The fields beside `type`."""
        return frozenset(self.model.model_fields) - {"type"}

    @property
    def examples(self) -> list[dict[str, Any]]:
        """A frame of each type of the model, its fields in their order."""
        extra: Any = self.model.model_config["json_schema_extra"]
        return list(extra["examples"])


def close_codes(settings: Settings) -> dict[int, str]:
    """What each close code of a node means; `/asyncapi` shows a row for each."""
    reasons = [
        f'"{error.close_reason}"'
        for error in (
            Unauthenticated.invalid(),
            Unauthenticated.expired(),
            Unauthenticated.revoked(),
        )
    ]
    return {
        CloseCode.GOING_AWAY: "The node is draining: reconnect, after a pause of random length, "
        "with the last cursor.",
        CloseCode.PROTOCOL_ERROR: "Not RFC 6455.",
        CloseCode.INVALID_TEXT: "Bad UTF-8.",
        CloseCode.POLICY: f"The token is not good, the reason says why: "
        f"{', '.join(reasons)}. A handshake with such a token is closed so, too, "
        "once the connection is open; without any token it is answered with 401.",
        CloseCode.TOO_BIG: f"A message over {settings.ws_frame_bytes_max} bytes.",
        CloseCode.INTERNAL_ERROR: "A fault of the node.",
        CloseCode.TRY_AGAIN_LATER: "Too slow a reader, or a server that does not answer: "
        "reconnect after a pause.",
        CloseCode.TOO_MANY_FRAMES: f"More than {settings.ws_frames_max} frames in "
        f"{settings.ws_frames_window_s:g} s, or more than {settings.ws_user_connections_max} "
        "connections of one user to one node.",
    }


def document(
    frames: Iterable[Frame], info: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """The whole document. The limits of the settings are in it."""
    frames = tuple(frames)
    references, definitions = models_json_schema(
        [(frame.model, "serialization") for frame in frames], ref_template=_SCHEMA + "{model}"
    )
    messages = {
        frame.name: {
            "name": frame.name,
            "contentType": "application/json",
            "summary": frame.model.__doc__,
            "examples": [
                {"name": example["type"], "payload": example} for example in frame.examples
            ],
            "payload": references[frame.model, "serialization"],
        }
        for frame in frames
    }
    token = {"type": "string", "description": _BEARER}
    cursor = {"type": "string", "description": "The last cursor that was seen, from any node."}
    query = {"type": "object", "properties": {"token": token, "cursor": cursor}}
    channel = {
        "address": "/ws",
        "servers": [{"$ref": "#/servers/ws"}],
        "description": "Close codes:\n\n"
        + "\n".join(f"- {code}: {meaning}" for code, meaning in close_codes(settings).items()),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": query,
            }
        },
    }
    to_me = [frame for frame in frames if not frame.from_client]
    from_me = [frame for frame in frames if frame.from_client]
    unasked = [frame for frame in to_me if not frame.is_answer]
    stream = {
        "address": "/api/v1/events",
        "servers": [{"$ref": "#/servers/http"}],
        "description": _STREAM.format(
            comment_s=settings.ws_comment_s, connections=settings.ws_user_connections_max
        ),
        "messages": {
            frame.name: {"$ref": f"#/components/messages/{frame.name}"} for frame in unasked
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            **info,
            "description": _ABOUT,
            "tags": [{"name": "live", "description": "What is sent without being asked for"}],
        },
        "servers": _servers(settings),
        "defaultContentType": "application/json",
        "channels": {"live": channel, "events": stream},
        "operations": {
            "tell": _operation("send", "live", to_me, "Frames to me, over the websocket."),
            "hear": _operation("receive", "live", from_me, "Frames from me, over the websocket."),
            "stream": _operation("send", "events", unasked, "The same frames, as an event stream.")
            | {"bindings": {"http": {"method": "GET", "query": query}}},
        },
        "components": {
            "messages": messages,
            "schemas": definitions["$defs"],
            "securitySchemes": _SECURITY,
        },
    }


def _servers(settings: Settings) -> dict[str, Any]:
    """Where a node is, over either protocol."""
    host = {
        "default": f"localhost:{settings.ws_port}",
        "description": "A node of its own, or the front door, which has it at its own address: "
        "`GET /` with `Accept: application/json` names it.",
    }
    meanings = {"ws": "A websocket node", "http": "The same node, for event streams"}
    return {
        protocol: {
            "host": "{host}",
            "protocol": protocol,
            "description": f"{meaning}; with TLS in front of it `{protocol}s`.",
            "variables": {"host": host},
        }
        for protocol, meaning in meanings.items()
    }


def _operation(
    action: str, channel: str, frames: Iterable[Frame], description: str
) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "description": description,
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{frame.name}"} for frame in frames],
    }
