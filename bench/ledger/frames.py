"""Frames as a client takes them: each is held against its declaration."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from hlfast.frames import FRAMES

Frame = dict[str, Any]


def _models() -> dict[str, type[BaseModel]]:
    """The model of each type of frame that a node sends."""
    return {
        kind: one.model
        for one in FRAMES
        if not one.from_client
        for kind in one.model.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
    }


_MODELS = _models()


def check(text: str | bytes) -> Frame:
    """A frame held against its model in FRAMES: nothing missing, nothing more."""
    frame: Frame = json.loads(text)
    model = _MODELS[frame["type"]].model_validate_json(text, strict=True)
    assert frame == json.loads(model.model_dump_json())
    return frame
