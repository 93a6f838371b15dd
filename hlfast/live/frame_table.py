"""What a node needs of the table of frames, which stands above it: `hlfast.frames`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Frames(Protocol):
    """Builds the frames of nodes, and parses those of clients."""

    def build(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        """The JSON of a node's frame. Raises ValueError if it lacks a field."""

    def parse(self, text: str) -> Any:
        """A client's frame, with its fields as attributes. Raises errors.Malformed."""
