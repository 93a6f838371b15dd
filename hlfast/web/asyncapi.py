"""AsyncAPI 3.0 of the websocket, made from the table of its frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_BEARER = (
    "An access token. Better as `Authorization: Bearer`, or as the subprotocols `bearer, <token>`: "
    "URLs end up in logs."
)
_SCHEMA = "#/components/schemas/"
# Told in the words of the contract; `/asyncapi` shows a row for each.
CLOSE_CODES = {
    1001: "The node is draining: reconnect, after a pause of random length, with the last cursor.",
    1007: "Bad UTF-8.",
    1008: 'The token is not good: the reason is "token invalid", "token expired" or '
    '"token revoked". One of a handshake is told so, too, once the connection is open; no token '
    "at all is a 401.",
    1009: "A frame over 16 KiB.",
    1011: "A fault of the node.",
    1013: "Too slow a reader: reconnect, and read faster.",
    4429: "Too many frames, or too many connections of one user.",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One kind of frame: a text of one JSON object of this model."""

    model: type[BaseModel]
    from_client: bool = False

    @property
    def name(self) -> str:
        """The message's name in the document."""
        return self.model.__name__

    @property
    def examples(self) -> list[dict[str, Any]]:
        """A frame of each type of the model, its fields in their order."""
        extra: Any = self.model.model_config["json_schema_extra"]
        return list(extra["examples"])


def document(frames: Iterable[Frame], title: str, version: str) -> dict[str, Any]:
    """The whole document."""
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
    channel = {
        "address": "/ws",
        "description": "Close codes:\n\n"
        + "\n".join(f"- {code}: {meaning}" for code, meaning in CLOSE_CODES.items()),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {"token": token, "cursor": cursor}},
            }
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": {"live": channel},
        "operations": {
            "tell": _operation("send", [frame for frame in frames if not frame.from_client]),
            "hear": _operation("receive", [frame for frame in frames if frame.from_client]),
        },
        "components": {"messages": messages, "schemas": definitions["$defs"]},
    }


def _operation(action: str, frames: Iterable[Frame]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{frame.name}"} for frame in frames],
    }
